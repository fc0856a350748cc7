"""Gaussian-process limit, Bayesian regression and finite-width corrections (chapter 1.1)."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermeval
from scipy import integrate, stats
from scipy.special import gammaln, kv

from course.data import circle
from course.estimates import estimate, jackknife
from course.ntk import gp_posterior, infinite_width_kernels
from course.ntk.gaussian_process import (
    bin_probabilities,
    characteristic_function,
    draw_density,
    draw_joint,
    draw_prior,
    edgeworth_density,
    excess_kurtosis,
    output_density,
    sample_outputs,
    stable_variates,
    student_t_posterior,
    weighted_moments,
)

LAW = {"activation": "relu", "sigma_w": math.sqrt(2), "sigma_b": math.sqrt(0.1)}
NARROW = {"preactivation_variance": 2.1, "sigma_w": math.sqrt(2), "sigma_b": math.sqrt(0.1)}
X = np.array([[1.0, 0.5, -0.5], [0.0, 1.0, 1.0], [-1.0, 0.3, 0.2], [2.0, -1.0, 0.5]])


def rng(seed):
    return np.random.default_rng(seed)


def in_errors(found, target):
    return np.abs(found.value - target) / found.stderr


class TestSampleOutputs:
    @pytest.mark.parametrize("activation", ["relu", "erf", "gelu", torch.sin])
    def test_one_layer_has_the_limit_covariance_at_any_width(self, activation):
        law = LAW | {"activation": activation}
        f = sample_outputs(X, width=2, networks=100_000, rng=rng(0), **law)
        products = (f[:, :, None] * f[:, None, :]).reshape(20, -1, 4, 4).mean(axis=1)
        kernel = infinite_width_kernels(X, depth=1, **law).nngp
        assert in_errors(estimate(products), kernel).max() < 4.5  # 10 entries, 4 activations

    def test_agrees_with_a_network_written_out(self):
        # All moments up to the fourth of a two-layer network with explicit loops.
        def network(generator):
            h = X[:2]
            for fan_in in (3, 3):
                w = generator.standard_normal((fan_in, 3))
                h = h @ w * LAW["sigma_w"] / math.sqrt(fan_in)
                h = np.maximum(h + LAW["sigma_b"] * generator.standard_normal(3), 0)
            readout = h @ generator.standard_normal(3) * LAW["sigma_w"] / math.sqrt(3)
            return readout + LAW["sigma_b"] * generator.standard_normal()

        generator = rng(1)
        slow = np.array([network(generator) for _ in range(20_000)])
        fast = sample_outputs(X[:2], width=3, depth=2, networks=20_000, rng=rng(2), **LAW)
        for power in ((2, 0), (1, 1), (0, 2), (4, 0), (2, 2)):
            values = [
                estimate((f[:, 0] ** power[0] * f[:, 1] ** power[1]).reshape(20, -1).mean(axis=1))
                for f in (slow, fast)
            ]
            error = math.hypot(values[0].stderr, values[1].stderr)
            assert abs(values[0].value - values[1].value) < 4.5 * error

    def test_networks_are_independent_across_chunks(self):
        f = sample_outputs(X[:1], width=4096, networks=4000, rng=rng(3), **LAW)[:, 0]
        for lag in (1, 2, 3):
            product = estimate((f[lag:] * f[:-lag])[: 3980 // 20 * 20].reshape(20, -1).mean(1))
            assert abs(product.value) < 4.5 * product.stderr
        assert len(np.unique(f)) == 4000

    def test_same_generator_same_networks(self):
        first, second = (
            sample_outputs(X, width=8, networks=5, rng=rng(4), depth=2, **LAW) for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)

    def test_readout_variance_multiplies_each_network(self):
        scales = np.array([0.0, 1.0, 4.0])
        plain = sample_outputs(X, width=8, networks=3, rng=rng(5), **LAW)
        scaled = sample_outputs(X, width=8, networks=3, rng=rng(5), readout_variance=scales, **LAW)
        np.testing.assert_allclose(scaled, plain * [[0.0], [1.0], [2.0]], rtol=1e-15)

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"x": [1.0, 2.0]}, "x has shape"),
            ({"x": [[np.nan]]}, "NaN"),
            ({"x": np.zeros((0, 2))}, "x has shape"),
            ({"width": 0}, "width"),
            ({"width": 2.5}, "width"),
            ({"depth": 0}, "depth"),
            ({"networks": -1}, "networks"),
            ({"sigma_w": -1.0}, "sigma_w"),
            ({"sigma_b": np.inf}, "sigma_b"),
            ({"activation": "step"}, "activation"),
            ({"readout_variance": [1.0, 2.0]}, "readout_variance"),
            ({"readout_variance": -1.0}, "readout_variance"),
            ({"stability": 2.1}, "stability"),
            ({"stability": 0.0}, "stability"),
            ({"x": [[1j]]}, "x is"),
            ({"x": [["1"]]}, "x is"),
            ({"x": [[1.0], [1.0, 2.0]]}, "x is"),
            ({"width": None}, "width is None"),
            ({"width": np.nan}, "width is nan"),
            ({"networks": True}, "networks is True"),
            ({"sigma_w": "a"}, "sigma_w is 'a'"),
            ({"sigma_b": None}, "sigma_b is None"),
            ({"readout_variance": "a"}, "readout_variance is 'a'"),
            ({"readout_variance": np.nan}, "readout_variance contains NaN"),
            ({"stability": None}, "stability is None"),
            ({"rng": None}, "rng is None"),
            ({"rng": 0}, "rng is 0"),
        ],
    )
    def test_bad_input(self, change, word):
        arguments = {"x": X, "width": 4, "networks": 3, "rng": rng(0)} | LAW | change
        with pytest.raises(ValueError, match=f"{word}.*allowed"):
            sample_outputs(arguments.pop("x"), **arguments)

    def test_tensors_in_arrays_out(self):
        x = torch.tensor(X, requires_grad=True)
        found = sample_outputs(x, width=4, networks=3, rng=rng(6), **LAW)
        np.testing.assert_array_equal(
            found, sample_outputs(X, width=4, networks=3, rng=rng(6), **LAW)
        )


class TestDeepKernel:
    def test_finite_width_shift_is_of_order_one_over_n(self):
        # The bound 2/n that the chapter allows at depth 3, by the exact conditional recursion.
        theta = np.pi
        first = np.array([[2.1, 2 * np.cos(theta) + 0.1], [2 * np.cos(theta) + 0.1, 2.1]])
        limit = infinite_width_kernels(circle([0.0, theta]), depth=3, **LAW).nngp[0, 1]

        def shift(width, networks=16_000):
            generator, groups = rng(width), []
            for _ in range(20):
                g = np.broadcast_to(first, (networks // 20, 2, 2))
                for _ in range(3):
                    root = np.linalg.cholesky(g + 1e-12 * np.eye(2))
                    h = root @ generator.standard_normal((len(g), 2, width))
                    h = np.maximum(h, 0)
                    g = 2 / width * h @ h.transpose(0, 2, 1) + 0.1
                groups.append(g[:, 0, 1].mean() - limit)
            return estimate(np.array(groups))

        for width in (32, 64):
            found = shift(width)
            assert -2.2 / width < found.value < -1.4 / width
            assert found.stderr < 0.25 / width


def brute_force(kernel, y, noise, points=41, reach=7.0):
    """Posterior moments of (f1, f2, f3) and p(y1, y2) by summing Bayes' rule on a grid."""
    axis = np.linspace(-reach, reach, points)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    prior = stats.multivariate_normal(np.zeros(3), kernel).pdf(grid)
    likelihood = np.exp(-((grid[:, :2] - y) ** 2).sum(axis=1) / (2 * noise)) / (2 * np.pi * noise)
    weight = prior * likelihood * (axis[1] - axis[0]) ** 3
    mean = weight @ grid / weight.sum()
    second = (grid * weight[:, None]).T @ grid / weight.sum()
    return mean, second - np.outer(mean, mean), math.log(weight.sum())


KERNEL = np.array([[1.5, 0.4, 0.7], [0.4, 1.2, -0.2], [0.7, -0.2, 1.0]])


class TestGaussianPosterior:
    def test_bayes_rule_on_a_grid(self):
        y, noise = np.array([0.8, -1.1]), 0.6
        found = gp_posterior(KERNEL[:2, :2], KERNEL[:, :2], KERNEL, y, noise=noise)
        mean, covariance, evidence = brute_force(KERNEL, y, noise)
        # A Gaussian sum on this grid is exact to about 1e-9 (trapezoidal rule, 7 deviations).
        np.testing.assert_allclose(found.mean, mean, atol=1e-7)
        np.testing.assert_allclose(found.covariance, covariance, atol=1e-7)
        assert found.log_marginal == pytest.approx(evidence, abs=1e-7)

    def test_without_noise_it_interpolates(self):
        kernel = infinite_width_kernels(X, depth=2, **LAW).nngp
        y = np.array([1.0, -1.0, 0.5, 2.0])
        found = gp_posterior(kernel, kernel, kernel, y)
        np.testing.assert_allclose(found.mean, y, atol=1e-9)
        np.testing.assert_allclose(found.covariance, 0.0, atol=1e-9)

    def test_evidence_is_the_product_of_predictions(self):
        kernel, y, noise = KERNEL, np.array([0.3, -0.5, 1.2]), 0.2
        total = 0.0
        for i in range(3):
            if i == 0:
                mean, variance = 0.0, kernel[0, 0]
            else:
                found = gp_posterior(
                    kernel[:i, :i], kernel[i : i + 1, :i], kernel[i : i + 1, i : i + 1], y[:i],
                    noise=noise,
                )  # fmt: skip
                mean, variance = found.mean[0], found.covariance[0, 0]
            total += stats.norm.logpdf(y[i], mean, math.sqrt(variance + noise))
        whole = gp_posterior(kernel, kernel, kernel, y, noise=noise)
        assert whole.log_marginal == pytest.approx(total, abs=1e-12)

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"kernel_train": np.ones((2, 2))}, "kernel_train.*positive definite"),
            ({"kernel_train": np.eye(3)}, "kernel_train has shape"),
            ({"kernel_train": [[1.0, 0.5], [0.1, 1.0]]}, "kernel_train is not symmetric"),
            ({"kernel_cross": np.ones((2, 1))}, "kernel_cross has shape"),
            ({"kernel_test": np.ones((1, 2))}, "kernel_test has shape"),
            ({"kernel_test": [[np.nan]]}, "kernel_test contains"),
            ({"y": [1.0, np.inf]}, "y contains"),
            ({"y": [[1.0, 2.0]]}, "y has shape"),
            ({"noise": -0.1}, "noise"),
            ({"noise": 1j}, "noise is 1j"),
            ({"y": [1j, 2.0]}, "y is"),
            ({"kernel_train": [[1.0], [1.0, 2.0]]}, "kernel_train is"),
        ],
    )
    @pytest.mark.parametrize("student", [False, True])
    def test_bad_input(self, change, word, student):
        arguments = {
            "kernel_train": np.eye(2), "kernel_cross": np.zeros((1, 2)),
            "kernel_test": np.eye(1), "y": [1.0, 2.0],
        } | change  # fmt: skip
        extra = {"shape": 1.0, "rate": 1.0} if student else {}
        function = student_t_posterior if student else gp_posterior
        with pytest.raises(ValueError, match=f"{word}.*allowed"):
            function(**arguments, **extra)


class TestWeightedMoments:
    def test_exact_for_given_weights(self):
        values, weights = rng(11).standard_normal((40, 3)), rng(12).uniform(size=40)
        found = weighted_moments(weights, values, seeds=8)
        for i in range(3):
            mean = np.average(values[:, i], weights=weights)
            assert found.value[i] == pytest.approx(mean)
            variance = np.average((values[:, i] - mean) ** 2, weights=weights)
            assert found.value[3 + i] == pytest.approx(variance)
        assert found.seeds == 8

    def test_error_covers_a_known_posterior(self):
        # Prior N(0, 1), datum 1 with noise 1: posterior N(1/2, 1/2).
        f = rng(13).standard_normal((20_000, 1))
        found = weighted_moments(np.exp(-((f[:, 0] - 1) ** 2) / 2), f)
        assert in_errors(found, [0.5, 0.5]).max() < 4
        assert (found.stderr < 0.02).all()

    @pytest.mark.parametrize(
        ("weights", "seeds", "word"),
        [([1.0] * 5, 2, "weights"), ([-1.0] * 6, 2, "weights"), ([0.0] * 6, 2, "weights"),
         ([1.0] * 6, 1, "seeds"), ([1.0] * 6, 4, "seeds")],
    )  # fmt: skip
    def test_bad_input(self, weights, seeds, word):
        with pytest.raises(ValueError, match=f"{word} .*allowed"):
            weighted_moments(weights, np.ones((6, 2)), seeds=seeds)


class TestStudentT:
    y = np.array([1.6, -2.2])
    prior = {"shape": 1.5, "rate": 0.8}
    noise = 0.3

    def found(self):
        return student_t_posterior(
            KERNEL[:2, :2], KERNEL[2:, :2], KERNEL[2:, 2:], self.y, noise=self.noise, **self.prior
        )

    def mixture(self, f):
        """p(f3 | y) and p(y) by integrating Gaussian regression over the scale numerically."""
        prior = stats.invgamma(self.prior["shape"], scale=self.prior["rate"])

        def given(log_s):
            s = math.exp(log_s)
            posterior = gp_posterior(
                s * KERNEL[:2, :2], s * KERNEL[2:, :2], s * KERNEL[2:, 2:], self.y,
                noise=s * self.noise,
            )  # fmt: skip
            weight = prior.pdf(s) * s * math.exp(posterior.log_marginal)
            deviation = math.sqrt(posterior.covariance[0, 0])
            return weight, weight * stats.norm.pdf(f, posterior.mean[0], deviation)

        total = integrate.quad(lambda v: given(v)[0], -8, 14, epsabs=1e-13, limit=200)[0]
        joint = integrate.quad(lambda v: given(v)[1], -8, 14, epsabs=1e-13, limit=200)[0]
        return joint / total, total

    @pytest.mark.parametrize("f", [-3.0, 0.2, 1.0, 6.0])
    def test_predictive_density_is_the_mixture_over_scales(self, f):
        found = self.found()
        density = stats.t.pdf(
            f, found.degrees_of_freedom, found.mean[0], math.sqrt(found.scale[0, 0])
        )
        mixture, evidence = self.mixture(f)
        assert density == pytest.approx(mixture, rel=1e-7)  # adaptive quadrature, abs. 1e-13
        assert found.log_marginal == pytest.approx(math.log(evidence), abs=1e-7)

    def test_formula_of_the_reference(self):
        found, a_matrix = self.found(), KERNEL[:2, :2] + self.noise * np.eye(2)
        quadratic = self.y @ np.linalg.solve(a_matrix, self.y)
        schur = KERNEL[2, 2] - KERNEL[2, :2] @ np.linalg.solve(a_matrix, KERNEL[:2, 2])
        assert found.degrees_of_freedom == 2 * 1.5 + 2
        assert found.scale[0, 0] == pytest.approx((0.8 + quadratic / 2) / (1.5 + 1) * schur)

    def test_known_scale_gives_the_gaussian_process(self):
        sharp = student_t_posterior(
            KERNEL[:2, :2], KERNEL[:, :2], KERNEL, self.y, shape=1e8, rate=1e8, noise=0.3
        )
        gaussian = gp_posterior(KERNEL[:2, :2], KERNEL[:, :2], KERNEL, self.y, noise=0.3)
        np.testing.assert_allclose(sharp.scale, gaussian.covariance, atol=1e-6)
        np.testing.assert_array_equal(sharp.mean, gaussian.mean)

    @pytest.mark.parametrize("name", ["shape", "rate"])
    @pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
    def test_bad_prior(self, name, value):
        with pytest.raises(ValueError, match=f"{name}.*allowed"):
            student_t_posterior(
                np.eye(1), np.zeros((1, 1)), np.eye(1), [1.0], **self.prior | {name: value}
            )


def relu_mixture_density(f, width):
    """Bias-free ReLU output density at q = 1: k of n neurons are on, each k a Bessel law."""
    total = np.zeros_like(f)
    x = np.abs(f) * math.sqrt(width)
    for k in range(1, width + 1):
        choose = gammaln(width + 1) - gammaln(k + 1) - gammaln(width - k + 1)
        order = (k - 1) / 2
        normal = math.log(math.pi) / 2 + order * math.log(2) + gammaln(k / 2)
        share = math.exp(choose - width * math.log(2) - normal)
        total += share * x**order * kv(order, x) * math.sqrt(width)
    return total


class TestFiniteWidth:
    def test_relu_kurtosis_is_fifteen_over_n(self):
        assert excess_kurtosis(width=10) == pytest.approx(1.5, rel=1e-12)
        assert excess_kurtosis(width=10, preactivation_variance=7.0) == pytest.approx(1.5)

    def test_linear_network(self):
        # E φ⁴ = 3q², so g = 6/n.
        assert excess_kurtosis("linear", width=3) == pytest.approx(2.0, rel=1e-12)

    @pytest.mark.parametrize("activation", ["relu", "erf", "gelu", torch.cos])
    def test_kurtosis_is_the_fourth_derivative_of_the_characteristic_function(self, activation):
        # log ψ = -K t²/2 + g K² t⁴/24 - ...; its even Taylor coefficients by a polynomial fit.
        law = NARROW | {"activation": activation, "width": 5}
        t = np.linspace(0.05, 0.35, 40)
        basis = np.stack([t**2, t**4, t**6, t**8, t**10, t**12], axis=1)
        logarithm = np.log(characteristic_function(t, **law))
        coefficient = np.linalg.lstsq(basis, logarithm, rcond=None)[0]
        variance = -2 * coefficient[0]
        assert 24 * coefficient[1] / variance**2 == pytest.approx(excess_kurtosis(**law), rel=1e-3)
        x = circle([0.0])
        kernel = infinite_width_kernels(x, depth=1, **LAW | {"activation": activation}).nngp
        assert variance == pytest.approx(kernel[0, 0], rel=1e-5)

    def test_density_of_relu_by_bessel_functions(self):
        f = np.linspace(0.01, 4, 60)
        exact = relu_mixture_density(f, 64)
        np.testing.assert_allclose(output_density(f, width=64), exact, atol=1e-11)

    @pytest.mark.parametrize("width", [1, 2, 4, 32])
    def test_density_has_unit_mass_and_the_right_variance(self, width):
        f = np.linspace(-60, 60, 24_001)
        density = output_density(f, width=width, **NARROW)
        step = f[1] - f[0]
        assert density.min() > -1e-11
        # Beyond 60 the narrowest network has a tail of about exp(-29): far below 1e-5.
        assert density.sum() * step == pytest.approx(1.0, abs=1e-5)
        assert density @ f**2 * step == pytest.approx(2.2, abs=1e-4)

    def test_narrow_unbiased_relu_is_refused(self):
        with pytest.raises(ValueError, match="width is 4.*singular.*allowed"):
            output_density([0.0, 1.0], width=4)

    def test_edgeworth_has_the_moments_it_promises(self):
        u, weight = np.polynomial.hermite_e.hermegauss(20)
        k, g = 2.5, 0.4
        ratio = edgeworth_density(u * math.sqrt(k), variance=k, kurtosis=g) / stats.norm.pdf(
            u * math.sqrt(k), scale=math.sqrt(k)
        )
        moments = [weight / weight.sum() @ (ratio * u**power) for power in (0, 1, 2, 3, 4)]
        np.testing.assert_allclose(moments, [1, 0, 1, 0, 3 + g], atol=1e-12)

    def test_negative_from_a_kurtosis_of_four(self):
        u = np.linspace(-4, 4, 4001)
        assert edgeworth_density(u, variance=1.0, kurtosis=3.999).min() >= 0
        assert edgeworth_density(u, variance=1.0, kurtosis=4.001).min() < 0

    @pytest.mark.parametrize("activation", ["relu", "erf", "gelu"])
    def test_error_of_the_correction_falls_as_the_square_of_the_width(self, activation):
        f = np.linspace(-4, 4, 161)
        law = NARROW | {"activation": activation}
        variance = infinite_width_kernels(
            circle([0.0]), depth=1, **LAW | {"activation": activation}
        ).nngp[0, 0]
        errors = []
        for width in (128, 256, 512):
            g = excess_kurtosis(width=width, **law)
            exact = output_density(f, width=width, **law)
            errors.append(
                [np.abs(exact - edgeworth_density(f, variance=variance, kurtosis=kurtosis)).max()
                 for kurtosis in (0.0, g)]
            )  # fmt: skip
        slopes = np.diff(np.log2(errors), axis=0)
        # The next order changes a slope by about 4/n.
        np.testing.assert_allclose(slopes, [[-1, -2], [-1, -2]], atol=0.06)

    @pytest.mark.parametrize("activation", ["relu", "erf"])
    def test_sampled_kurtosis(self, activation):
        f = sample_outputs(
            circle([0.0]), width=6, networks=200_000, rng=rng(6), **LAW | {"activation": activation}
        )
        groups = f.reshape(20, -1)
        variance = infinite_width_kernels(
            circle([0.0]), depth=1, **LAW | {"activation": activation}
        ).nngp[0, 0]
        # The variance is known, so the fourth moment alone is measured.
        found = estimate((groups**4).mean(axis=1) / variance**2 - 3)
        target = excess_kurtosis(activation, width=6, **NARROW)
        assert abs(found.value - target) < 4 * found.stderr
        assert target > 4 * found.stderr

    def test_deep_bias_free_relu_kurtosis(self):
        law = {"activation": "relu", "sigma_w": math.sqrt(2), "sigma_b": 0.0}
        f = sample_outputs([[1.0]], width=24, depth=3, networks=100_000, rng=rng(7), **law)
        found = estimate((f.reshape(20, -1) ** 4).mean(axis=1) / 4 - 3)  # f² has mean 2
        target = 3 * ((1 + 5 / 24) ** 3 - 1)
        assert abs(found.value - target) < 4 * found.stderr
        assert found.stderr < 0.2

    @pytest.mark.parametrize(
        ("function", "arguments", "word"),
        [
            (excess_kurtosis, {"width": 0}, "width"),
            (excess_kurtosis, {"width": 3, "preactivation_variance": 0.0}, "preactivation"),
            (excess_kurtosis, {"width": 3, "sigma_w": 0.0}, "sigma_w"),
            (excess_kurtosis, {"width": None}, "width is None"),
            (output_density, {"x": [], "width": 3}, "x has shape"),
            (output_density, {"x": [0.0], "width": 3, "sigma_w": "a"}, "sigma_w is 'a'"),
            (output_density, {"x": ["a"], "width": 3}, "x is"),
            (characteristic_function, {"t": [1j], "width": 3}, "t is"),
            (edgeworth_density, {"x": [1j], "variance": 1.0, "kurtosis": 1.0}, "x is"),
            (edgeworth_density, {"x": [0.0], "variance": None, "kurtosis": 1.0}, "variance is"),
            (excess_kurtosis, {"width": 3, "activation": "step"}, "activation"),
            (output_density, {"x": [np.nan], "width": 3}, "x contains"),
            (output_density, {"x": [0.0], "width": 3.5}, "width"),
            (characteristic_function, {"t": [0.0], "width": 3, "sigma_b": -1.0}, "sigma_b"),
            (edgeworth_density, {"x": [0.0], "variance": 0.0, "kurtosis": 1.0}, "variance"),
            (edgeworth_density, {"x": [0.0], "variance": 1.0, "kurtosis": -2.5}, "kurtosis"),
        ],
    )
    def test_bad_input(self, function, arguments, word):
        with pytest.raises(ValueError, match=f"{word}.*allowed"):
            function(**arguments)


class TestBinProbabilities:
    def test_gaussian_bins(self):
        edges = np.linspace(-3, 3, 13)
        np.testing.assert_allclose(
            bin_probabilities(stats.norm.pdf, edges), np.diff(stats.norm.cdf(edges)), atol=1e-14
        )

    def test_bad_edges(self):
        with pytest.raises(ValueError, match="edges.*allowed"):
            bin_probabilities(stats.norm.pdf, [0.0, 1.0, 1.0])


class TestStableVariates:
    @pytest.mark.parametrize("alpha", [0.7, 1.0, 1.5, 2.0])
    def test_characteristic_function(self, alpha):
        draws = stable_variates(alpha, (20, 10_000), rng(8))
        t = np.array([0.3, 1.0, 2.0])
        found = estimate(np.cos(draws[..., None] * t).mean(axis=1))
        assert in_errors(found, np.exp(-(t**alpha) / 2)).max() < 4.2

    def test_cauchy_quartiles(self):
        draws = stable_variates(1.0, (200_000,), rng(9))
        # Share within ±1/2, the quartiles of a Cauchy law of scale 1/2; 4 binomial errors.
        assert abs((np.abs(draws) < 0.5).mean() - 0.5) < 4 * math.sqrt(0.25 / 200_000)

    def test_scaling_with_width(self):
        # With n^(-1/α) the law of a stable network hardly depends on the width.
        shares = [
            (np.abs(sample_outputs(circle([0.0]), width=n, networks=20_000, rng=rng(n),
                                   stability=1.0, **LAW)) < 0.6).mean()
            for n in (64, 1024)
        ]  # fmt: skip
        assert abs(shares[0] - shares[1]) < 4 * math.sqrt(2 * 0.25 / 20_000)


class TestChapterAllowances:
    """Finite-width shifts that the chapter's claims allow as systematic errors."""

    def test_tail_probabilities_at_width_128(self):
        f = np.linspace(0, 60, 60_001)
        law = {"preactivation_variance": 2.1}
        law |= {"sigma_w": math.sqrt(2 / 2.2), "sigma_b": math.sqrt(0.1 / 2.2)}
        density = output_density(f, width=128, **law)
        inside = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1]) * (f[1] - f[0])])
        s = stats.invgamma.ppf((np.arange(20_000) + 0.5) / 20_000, 2.0, scale=1.0)
        for threshold in range(2, 7):
            c = threshold / np.sqrt(s)
            shift = (1 - np.interp(c, f, inside) - 2 * stats.norm.sf(c)).mean()
            assert abs(shift) < 0.00025

    def test_next_order_per_bin_at_width_32(self):
        u = np.linspace(-2.4, 2.4, 321) * math.sqrt(2)
        series = [0] * 6 + [660 / 32**2 / 720, 0, (15 / 32) ** 2 / 1152]
        term = stats.norm.pdf(u) * hermeval(u, series)
        bins = [integrate.trapezoid(term[i : i + 21], u[i : i + 21]) for i in range(0, 320, 20)]
        assert 0.0005 < np.abs(bins).max() < 0.001

    @pytest.mark.parametrize(
        ("scale", "student", "allowed"), [(1.0, False, 0.012), (0.3, True, 0.006)]
    )
    def test_posterior_moments_at_width_128(self, scale, student, allowed):
        # Given the hidden layer the network is exactly Gaussian, so its posterior is the average
        # of conjugate posteriors over random kernels, weighted by their evidence.
        x = circle([0.5, 2.0, 3.5, 0.0, 1.2, 2.7, 4.0, 5.0])
        y = scale * np.array([1.0, -1.0, 0.5])

        def regression(kernel):
            parts = kernel[:3, :3], kernel[3:, :3], kernel[3:, 3:]
            if not student:
                found = gp_posterior(*parts, y, noise=0.2)
                return found.mean, np.diag(found.covariance), found.log_marginal
            found = student_t_posterior(*parts, y, noise=0.2, shape=2.0, rate=1.0)
            dof = found.degrees_of_freedom
            return found.mean, np.diag(found.scale) * dof / (dof - 2), found.log_marginal

        generator, groups = rng(10), []
        for _ in range(10):
            rows = []
            for _ in range(400):
                h = x @ generator.standard_normal((2, 128))
                h += LAW["sigma_b"] * generator.standard_normal(128)
                features = np.maximum(h, 0)
                mean, variance, evidence = regression(features @ features.T / 64 + 0.1)
                rows.append(math.exp(evidence) * np.concatenate([[1], mean, variance + mean**2]))
            groups.append(np.mean(rows, axis=0))

        def moments(seeds):
            total = seeds.mean(axis=0)
            mean, second = np.split(total[1:] / total[0], 2)
            return np.concatenate([mean, second - mean**2])

        kernel = infinite_width_kernels(x, depth=1, **LAW).nngp
        shift = jackknife(lambda seeds: moments(seeds) - np.concatenate(regression(kernel)[:2]),
                          np.array(groups))  # fmt: skip
        assert (np.abs(shift.value) < allowed).all()
        assert (shift.stderr < allowed).all()


def test_figures_draw():
    import matplotlib.pyplot as plt

    x = np.linspace(0, 6, 7)
    functions = {n: sample_outputs(circle(x), width=n, networks=2, rng=rng(n), **LAW)
                 for n in (1, 4)}  # fmt: skip
    outputs = {n: sample_outputs(circle([1.0]), width=n, networks=50, rng=rng(n), **LAW)
               for n in (1, 4)}  # fmt: skip
    kernel = infinite_width_kernels(circle(x), depth=1, **LAW).nngp
    prior = draw_prior(x, functions, outputs, 1.0, kernel, rng(0))
    titles = [ax.get_title() + ax.get_title(loc="left") for ax in prior.axes[:2]]
    assert titles == ["width $n=1$", "width $n=4$"]
    pairs = {n: f[:, :2] for n, f in functions.items()}
    joint = draw_joint(pairs, kernel[:2, :2])
    ellipse = np.array(joint.axes[0].lines[2].get_data())  # 95 % of the limiting law
    form = np.einsum("ip,ij,jp->p", ellipse, np.linalg.inv(kernel[:2, :2]), ellipse)
    np.testing.assert_allclose(form, stats.chi2.ppf(0.95, 2))
    fig, ax = plt.subplots()
    draw_density(ax, outputs[4][:, 0] / math.sqrt(2.2), width=4, **NARROW)
    assert {"Gaussian", "exact"} <= set(ax.get_legend_handles_labels()[1])
    plt.close("all")
