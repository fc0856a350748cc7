"""Moment equations against hand derivations and brute force; closures against their laws."""

import itertools
import math

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose
from scipy import integrate, linalg, optimize, special, stats

from course.moments.closed import ClosureDiverged, cumulants_from_moments, unphysical
from course.moments.closures import CLOSURES, POLYNOMIAL, cumulant_form, multi_indices
from course.moments.hierarchy import linear_noise, moment_equations
from course.moments.kinetics import ReactionNetwork
from course.moments.laurent import Compiled


def network(*reactions, rates, **options):
    return ReactionNetwork(reactions, rates=rates, **options)


def dimerisation(volume=5.0, **options):
    return network("0 -> A", "2 A -> 0", rates=[1.0, 0.5], volume=volume, **options)


def schloegl(volume):
    reactions = ("0 -> X", "X -> 0", "2 X -> 3 X", "3 X -> 2 X")
    return network(*reactions, rates=[2.25, 6.75, 5.0, 1.0], volume=volume)


def brusselator(volume, rates=(0.45, 2.0, 1.0, 1.0)):
    return network("2 X + Y -> 3 X", "X -> Y", "0 -> X", "X -> 0", rates=rates, volume=volume)


def telegraph():
    reactions = ("D -> G", "G -> D", "G -> G + M", "M -> 0")
    return network(*reactions, rates=[0.5, 1.5, 20.0, 1.0], species=("D", "G", "M"))


def binding():
    return network("A + B -> C", "C -> A + B", rates=[0.5, 1.0])


# --- Equations by hand: symbols of moments are m[powers], rates k1, …, volume V

k1, k2, k3, k4 = sympy.symbols("k_1:5", positive=True)
V = sympy.Symbol("Omega", positive=True)


def birth_death_by_hand(m):
    return {
        (1,): k1 * V - k2 * m(1),
        (2,): k1 * V + 2 * k1 * V * m(1) + k2 * m(1) - 2 * k2 * m(2),
        (3,): k1 * V * (1 + 3 * m(1) + 3 * m(2)) + k2 * (-m(1) + 3 * m(2) - 3 * m(3)),
    }


def dimerisation_by_hand(m):
    pairs = k2 / V
    return {
        (1,): k1 * V - 2 * pairs * (m(2) - m(1)),
        (2,): k1 * V * (1 + 2 * m(1)) + pairs * (-4 * m(3) + 8 * m(2) - 4 * m(1)),
    }


def dimerisation_with_combinations_by_hand(m):
    return {
        powers: right.subs(k2, k2 / 2)
        for powers, right in ((p, sympy.sympify(r)) for p, r in dimerisation_by_hand(m).items())
    }


def telegraph_by_hand(m):
    on, mrna, both = m(0, 1, 0), m(0, 0, 1), m(0, 1, 1)
    return {
        (0, 1, 0): k1 * m(1, 0, 0) - k2 * on,
        (0, 0, 1): k3 * on - k4 * mrna,
        (0, 1, 1): k1 * m(1, 0, 1) - k2 * both + k3 * m(0, 2, 0) - k4 * both,
        (0, 0, 2): k3 * (on + 2 * both) + k4 * (mrna - 2 * m(0, 0, 2)),
        (1, 1, 0): k1 * (m(2, 0, 0) - m(1, 1, 0) - m(1, 0, 0))
        + k2 * (m(0, 2, 0) - m(1, 1, 0) - m(0, 1, 0)),
    }


def binding_by_hand(m):
    on = k1 / V
    forward, forward_a = m(1, 1, 0), m(2, 1, 0)
    return {
        (1, 0, 0): -on * forward + k2 * m(0, 0, 1),
        (2, 0, 0): on * (forward - 2 * forward_a) + k2 * (m(0, 0, 1) + 2 * m(1, 0, 1)),
        (1, 1, 0): on * (forward - forward_a - m(1, 2, 0))
        + k2 * (m(0, 0, 1) + m(1, 0, 1) + m(0, 1, 1)),
        (1, 0, 1): on * (forward_a - m(1, 1, 1) - forward)
        + k2 * (m(0, 0, 2) - m(1, 0, 1) - m(0, 0, 1)),
    }


def schloegl_by_hand(m):
    two, three = k3 / V, k4 / V**2
    return {
        (1,): k1 * V - k2 * m(1) + two * (m(2) - m(1)) - three * (m(3) - 3 * m(2) + 2 * m(1)),
        (2,): k1 * V * (1 + 2 * m(1))
        + k2 * (m(1) - 2 * m(2))
        + two * (2 * m(3) - m(2) - m(1))
        + three * (-2 * m(4) + 7 * m(3) - 7 * m(2) + 2 * m(1)),
    }


def brusselator_by_hand(m):
    c = k1 / V**2
    return {
        (1, 0): c * (m(2, 1) - m(1, 1)) - k2 * m(1, 0) + k3 * V - k4 * m(1, 0),
        (0, 1): -c * (m(2, 1) - m(1, 1)) + k2 * m(1, 0),
        (1, 1): c * (m(2, 2) - m(1, 2) - m(3, 1) + m(1, 1))
        + k2 * (m(2, 0) - m(1, 1) - m(1, 0))
        + k3 * V * m(0, 1)
        - k4 * m(1, 1),
        (0, 2): c * (-2 * m(2, 2) + 2 * m(1, 2) + m(2, 1) - m(1, 1)) + k2 * (m(1, 0) + 2 * m(1, 1)),
    }


def epidemic_by_hand(m):
    b = k1 / V
    return {
        (1, 0): -b * m(1, 1),
        (0, 1): b * m(1, 1) - k2 * m(0, 1),
        (2, 0): b * (m(1, 1) - 2 * m(2, 1)),
        (1, 1): b * (m(2, 1) - m(1, 2) - m(1, 1)) - k2 * m(1, 1),
        (0, 2): b * (2 * m(1, 2) + m(1, 1)) + k2 * (m(0, 1) - 2 * m(0, 2)),
    }


BY_HAND = [
    (network("0 -> A", "A -> 0", rates=[3.0, 0.5], volume=2.0), 3, birth_death_by_hand),
    (dimerisation(), 2, dimerisation_by_hand),
    (dimerisation(convention="combinations"), 2, dimerisation_with_combinations_by_hand),
    (telegraph(), 2, telegraph_by_hand),
    (binding(), 2, binding_by_hand),
    (schloegl(2.0), 2, schloegl_by_hand),
    (brusselator(3.0), 2, brusselator_by_hand),
    (network("S + I -> 2 I", "I -> 0", rates=[2.0, 1.0], volume=50.0), 2, epidemic_by_hand),
]


@pytest.mark.parametrize(
    ("net", "order", "by_hand"), BY_HAND, ids=lambda x: getattr(x, "__name__", "")
)
def test_symbolic_equations_equal_those_derived_by_hand(net, order, by_hand):
    equations = moment_equations(net, order)
    symbolic = equations.symbolic()
    assert set(symbolic) == {equations.symbol(*powers) for powers in equations.indices}
    for powers, right in by_hand(equations.symbol).items():
        difference = sympy.expand(symbolic[equations.symbol(*powers)] - right)
        assert difference == 0, powers


def test_numeric_equations_are_the_symbolic_ones_at_the_rates():
    for net in (schloegl(2.0), dimerisation(convention="combinations")):
        equations = moment_equations(net, 2)
        values = dict(zip(net.parameter_symbols, [*net.rates, net.volume], strict=True))
        everything = (*equations.indices, *equations.higher)
        moments = {equations.symbol(*p): 1.5 ** sum(p) + 0.1 * p[0] for p in everything}
        for left, right in equations.symbolic().items():
            numeric = float(equations.symbolic(numeric=True)[left].subs(moments))
            assert_allclose(float(right.subs(values).subs(moments)), numeric, rtol=1e-12)


def random_network(seed):
    """A few random reactions of at most three molecules between two or three species."""
    rng = np.random.default_rng(seed)
    species = int(rng.integers(2, 4))
    sides = [tuple(s) for s in itertools.product(range(4), repeat=species) if sum(s) <= 3]
    chosen = rng.integers(len(sides), size=(5, 2))
    kept = [(sides[a], sides[b]) for a, b in chosen if a != b]
    reactants, products = (np.array(side) for side in zip(*kept, strict=True))
    return ReactionNetwork.from_arrays(
        reactants,
        products,
        rates=rng.uniform(0.1, 2, len(kept)),
        species=tuple("ABC"[:species]),
        volume=2.5,
        convention=("falling", "combinations")[seed % 2],
    )


@pytest.mark.parametrize("seed", range(8))
def test_equations_hold_for_every_law(seed):
    """The generator applied to a random law on a grid of counts."""
    net = random_network(seed)
    counts = np.array(list(itertools.product(range(5), repeat=len(net.species))))
    law = np.random.default_rng(seed).dirichlet(np.ones(len(counts)))
    equations = moment_equations(net, 3)
    propensities = net.propensities(counts)
    expected = []
    for powers in equations.indices:
        after = np.prod((counts[:, None] + net.changes).astype(float) ** powers, axis=-1)
        before = np.prod(counts.astype(float) ** powers, axis=-1)
        expected.append(law @ (propensities * (after - before[:, None])).sum(axis=1))

    def moment(powers):
        return law @ np.prod(counts.astype(float) ** powers, axis=-1)

    scale = 1 + np.abs(expected).max()
    assert_allclose(equations.derivative(moment), expected, atol=1e-10 * scale)


@pytest.mark.parametrize("net", [binding(), telegraph()], ids=["binding", "telegraph"])
@pytest.mark.parametrize("closure", [None, *CLOSURES])
def test_moments_of_conserved_sums_do_not_change(net, closure):
    equations = moment_equations(net, 3)
    system = equations if closure is None else equations.close(closure)
    symbolic = system.symbolic()
    for law, order in itertools.product(net.conservation_laws.tolist(), (1, 2, 3)):
        total = 0
        for powers in itertools.product(range(order + 1), repeat=len(law)):
            if sum(powers) == order:
                weight = math.factorial(order) // math.prod(map(math.factorial, powers))
                weight *= math.prod(w**p for w, p in zip(law, powers, strict=True))
                total += weight * symbolic[equations.symbol(*powers)]
        assert sympy.simplify(sympy.expand(total)) == 0


def test_hierarchy_of_linear_propensities_closes_by_itself():
    assert moment_equations(telegraph(), 4).higher == ()
    assert moment_equations(dimerisation(), 4).higher == ((5,),)
    assert moment_equations(brusselator(1.0), 2).higher == ((2, 1), (1, 2), (3, 1), (2, 2))


def test_moments_of_order_four_for_three_species():
    equations = moment_equations(binding(), 4)
    assert len(equations.indices) == math.comb(7, 3) - 1
    assert equations.indices[:4] == ((1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0))
    path = equations.close("normal").solve([0.1], start=[30, 25, 0])
    exact = binding().finite_state_projection(start=[30, 25, 0], times=[0.1])
    assert_allclose(path.mean, exact.mean, rtol=1e-4)


def test_latex():
    block = moment_equations(dimerisation(), 2).latex()
    assert block.startswith("\\begin{aligned}")
    assert block.endswith("\\end{aligned}")
    assert block.count("\\frac{d}{dt}") == 2
    assert "\\langle A^{2}\\rangle" in block
    assert "mu" not in block
    closed = moment_equations(brusselator(1.0), 2).close("lognormal").latex()
    assert "\\langle X^{2} Y\\rangle &\\to" in closed
    assert closed.count("\\begin") == closed.count("\\end") == 1
    assert "2.25" not in moment_equations(schloegl(1.0), 1).latex()
    assert "\\frac{9}{4}" in moment_equations(schloegl(1.0), 1).latex(numeric=True)


# --- Closures against the laws that they name


def closed_values(closure, order, moments, species):
    """What a closure puts for moments two above its order, given a function for the lower ones."""
    net = network(
        *(f"4 {name} -> 0" for name in "AB"[:species]),
        *(("2 A + 2 B -> 0", "A + 2 B -> 0") if species == 2 else ()),
        rates=[1.0] * (1 if species == 1 else 4),
    )
    system = moment_equations(net, order).close(closure)
    symbols = {system.equations.symbol(*p): moments(p) for p in system.indices}
    closing = system.closing()
    return {
        powers: float(closing[system.equations.symbol(*powers)].subs(symbols))
        for powers in system.equations.higher
    }


def expectation(law_nodes, law_weights):
    def moment(powers):
        return float(law_weights @ np.prod(law_nodes ** np.array(powers), axis=1))

    return moment


def normal_law():
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    grid = np.array(list(itertools.product(nodes, repeat=2)))
    products = np.prod(np.array(list(itertools.product(weights, repeat=2))), axis=1)
    factor = np.array([[1.5, 0.0], [-0.7, 0.9]])
    return expectation(np.array([4.0, 3.0]) + grid @ factor.T, products / products.sum())


def poisson_law():
    counts = np.array(list(itertools.product(range(60), repeat=2)))
    return expectation(counts, stats.poisson.pmf(counts, [3.0, 1.7]).prod(axis=1))


def lognormal_law():
    covariance = np.array([[0.2, -0.05], [-0.05, 0.1]])
    location = np.array([0.5, 1.0])

    def moment(powers):
        p = np.array(powers)
        return float(np.exp(p @ location + p @ covariance @ p / 2))

    return moment


def gamma_law():
    """X = b1 (Z1 + Z0), Y = b2 (Z2 + Z0) with independent gamma variables of unit scale."""
    shapes, scales = (2.0, 1.3, 0.6), (0.7, 1.9)

    def rising(shape, power):
        return math.prod(shape + step for step in range(power))

    def moment(powers):
        p, q = powers
        total = sum(
            math.comb(p, i)
            * math.comb(q, j)
            * rising(shapes[0], p - i)
            * rising(shapes[1], q - j)
            * rising(shapes[2], i + j)
            for i in range(p + 1)
            for j in range(q + 1)
        )
        return scales[0] ** p * scales[1] ** q * total

    return moment


@pytest.mark.parametrize(
    ("closure", "law"),
    [
        ("normal", normal_law()),
        ("poisson", poisson_law()),
        ("lognormal", lognormal_law()),
        ("gamma", gamma_law()),
    ],
    ids=["normal", "poisson", "lognormal", "gamma"],
)
@pytest.mark.parametrize("order", [2, 3, 4])
def test_closure_is_exact_for_its_own_law(closure, law, order):
    values = closed_values(closure, order, law, 2)
    assert len(values) >= 4
    for powers, value in values.items():
        assert_allclose(value, law(powers), rtol=1e-9, err_msg=str(powers))


def test_one_species_may_be_a_gamma_law_with_the_library_moments():
    law = stats.gamma(a=2.3, scale=1.7)
    values = closed_values("gamma", 2, lambda p: law.moment(p[0]), 1)
    assert_allclose([values[(3,)], values[(4,)]], [law.moment(3), law.moment(4)], rtol=1e-10)


def test_central_closure_makes_central_moments_vanish():
    law = lognormal_law()
    values = closed_values("central", 3, law, 2)

    def moment(powers):
        return values[powers] if sum(powers) > 3 else law(powers) if sum(powers) else 1.0

    for powers in values:
        shifted = [
            math.prod(math.comb(p, q) for p, q in zip(powers, lower, strict=True))
            * math.prod(
                (-law(e)) ** (p - q)
                for e, p, q in zip(((1, 0), (0, 1)), powers, lower, strict=True)
            )
            * moment(lower)
            for lower in itertools.product(*(range(p + 1) for p in powers))
        ]
        assert abs(sum(shifted)) < 1e-9 * np.abs(shifted).max()


def test_zero_closure_drops_raw_moments():
    assert set(closed_values("zero", 2, lognormal_law(), 2).values()) == {0.0}


def test_derivative_matching_has_the_exponents_of_its_equations():
    """Two cases, the exponents by hand from binom(i, j) = sum_k gamma_k binom(k, j)."""
    law = gamma_law()
    second = closed_values("derivative_matching", 2, law, 2)
    expected = law((1, 1)) ** 2 * law((0, 2)) / (law((1, 0)) * law((0, 1)) ** 2)
    assert_allclose(second[(1, 2)], expected, rtol=1e-12)
    one = stats.gamma(a=2.3)
    third = closed_values("derivative_matching", 3, lambda p: one.moment(p[0]), 1)
    m1, m2, m3 = (one.moment(n) for n in (1, 2, 3))
    assert_allclose(third[(4,)], m1**4 * m3**4 / m2**6, rtol=1e-12)


def test_derivative_matching_errs_at_third_order_in_the_spread():
    """At order 2 the error of <n^3> falls as the cube of the width."""
    errors = []
    for width in (0.02, 0.01):
        nodes = np.array([[2 - width], [2 + 2 * width]])
        law = expectation(nodes, np.array([2 / 3, 1 / 3]))
        errors.append(abs(closed_values("derivative_matching", 2, law, 1)[(3,)] - law((3,))))
    # the third cumulant itself is of order width^3 and is not matched
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.1)


def test_which_closures_agree():
    law = lognormal_law()
    two = {name: closed_values(name, 2, law, 2) for name in CLOSURES}
    for powers in two["normal"]:
        assert_allclose(two["lognormal"][powers], two["derivative_matching"][powers], rtol=1e-12)
        assert abs(two["normal"][powers] / two["lognormal"][powers] - 1) > 1e-4
        if sum(powers) == 3:
            assert_allclose(two["normal"][powers], two["central"][powers], rtol=1e-12)
    assert abs(two["normal"][(4, 0)] / two["central"][(4, 0)] - 1) > 1e-4


@pytest.mark.parametrize("closure", ["normal", "central", "derivative_matching"])
def test_order_one_is_the_rate_equation(closure):
    """Up to 1/Ω: the falling factor n(n-1) keeps its -n."""
    system = moment_equations(schloegl(1e6), 1).close(closure)
    counts = np.array([1.7e6])
    assert_allclose(system.derivative(counts), schloegl(1e6).rate_equations(counts), rtol=1e-4)


# --- Exact solutions


def test_birth_death_in_time_is_poisson_to_1e_8():
    net = network("0 -> A", "A -> 0", rates=[3.0, 0.5], volume=2.0)
    times = np.array([0.0, 0.3, 2.0, 30.0])
    mean = 12 * (1 - np.exp(-0.5 * times))
    path = moment_equations(net, 4).close("normal").solve(times)
    for power in (1, 2, 3, 4):
        touchard = sum(
            mean**j
            * sum((-1) ** (j - i) * math.comb(j, i) * i**power for i in range(j + 1))
            / math.factorial(j)
            for j in range(1, power + 1)
        )
        assert_allclose(path.moment((power,)), touchard, rtol=1e-8, atol=1e-12)
    assert_allclose(path.variance[:, 0], mean, rtol=1e-8, atol=1e-10)
    assert path.unphysical is None


def test_small_noise_of_large_counts():
    """A variance of 1e5 beside a squared mean of 1e10 is lost if raw moments are integrated."""
    net = network("0 -> A", "A -> 0", rates=[1e5, 1.0])
    path = moment_equations(net, 4).close("normal").solve([1.0, 40.0])
    assert_allclose(path.variance[:, 0], path.mean[:, 0], rtol=1e-8)


def test_cumulants_from_moments():
    law = stats.gamma(a=2.3, scale=1.7)
    indices = multi_indices(1, 4)
    found = cumulants_from_moments(np.array([law.moment(n) for (n,) in indices]), indices)
    assert_allclose(found, [2.3 * 1.7**n * math.factorial(n - 1) for (n,) in indices], rtol=1e-9)
    two = multi_indices(2, 3)
    poisson = poisson_law()
    found = cumulants_from_moments(np.array([poisson(p) for p in two]), two)
    expected = [3.0 if q == 0 else 1.7 if p == 0 else 0.0 for p, q in two]
    assert_allclose(found, expected, atol=1e-9)


def test_three_species_share_no_triple_cumulant():
    """Order 2: <ABC> of sums of gamma variables, one shared by each pair, by multiplying out."""
    net = network("A + B + C -> 0", rates=[1.0])
    shapes = {"AA": 1.1, "BB": 0.8, "CC": 1.4, "AB": 0.3, "AC": 0.5, "BC": 0.2}
    scales = {"A": 0.7, "B": 1.9, "C": 1.2}
    parts = {name: [pair for pair in shapes if name in pair] for name in scales}

    def moment(powers):
        names = [name for name, power in zip("ABC", powers, strict=True) for _ in range(power)]
        total = 0.0
        for chosen in itertools.product(*(parts[name] for name in names)):
            factors = [
                math.prod(shapes[pair] + step for step in range(chosen.count(pair)))
                for pair in set(chosen)
            ]
            total += math.prod(factors)
        return total * math.prod(scales[name] for name in names)

    system = moment_equations(net, 2).close("gamma")
    values = {system.equations.symbol(*p): moment(p) for p in system.indices}
    closing = system.closing()
    assert (1, 1, 1) in system.equations.higher
    for powers in system.equations.higher:
        found = float(closing[system.equations.symbol(*powers)].subs(values))
        assert_allclose(found, moment(powers), rtol=1e-10, err_msg=str(powers))


def test_telegraph_gene_to_1e_8():
    system = moment_equations(telegraph(), 2).close("zero")
    state = system.steady_states(start={"D": 1})
    assert len(state) == 1
    assert state.complete
    assert state[0].physical
    assert state[0].stable
    assert_allclose(state[0].mean, [0.75, 0.25, 5.0], rtol=1e-8)
    assert_allclose(state[0].variance[2], 30.0, rtol=1e-8)
    # in time: mean by hand, with the gene's relaxation rate 2 and the messenger's 1
    times = np.array([0.2, 1.0, 3.0])
    path = system.solve(times, {"D": 1})
    on = 0.25 * (1 - np.exp(-2 * times))
    mean = 5 * (1 - np.exp(-times)) - 5 * (np.exp(-times) - np.exp(-2 * times))
    assert_allclose(path.mean[:, 1], on, rtol=1e-8)
    assert_allclose(path.mean[:, 2], mean, rtol=1e-8)
    exact = telegraph().finite_state_projection(start={"D": 1}, times=times, tolerance=1e-11)
    assert_allclose(path.covariance, exact.covariance, rtol=1e-8, atol=1e-8)


def test_exact_moments_of_dimerisation_satisfy_the_hierarchy():
    a = 1.0 * 5**2 / 0.5
    z = 2 * math.sqrt(2 * a)
    mean = math.sqrt(a / 2) * special.iv(0, z) / special.iv(1, z)
    equations = moment_equations(dimerisation(), 4)
    exact = dimerisation().finite_state_projection(tolerance=1e-12)
    assert_allclose(exact.mean[0], mean, rtol=1e-9)
    moved = equations.derivative(exact.moment)
    scale = [exact.moment((i + 1,)) for i in range(1, 5)]
    assert_allclose(moved / scale, 0, atol=1e-8)
    # the first equation turns the Bessel mean into the variance
    second = mean + a / 2
    assert_allclose(second - mean**2, 3.8136672369, rtol=1e-9)
    assert_allclose(exact.covariance[0, 0], 3.8136672369, rtol=1e-9)


def test_normal_closure_of_the_epidemic():
    net = network("S + I -> 2 I", "I -> 0", rates=[2.0, 1.0], volume=50.0)
    path = moment_equations(net, 2).close("normal").solve([0.0, 4.0], [47, 3])
    assert_allclose(path.mean[0], [47, 3])
    assert_allclose(path.mean[1, 0], 23.590855, atol=1e-6)
    exact = net.finite_state_projection(start=[47, 3], times=[4.0])
    assert_allclose(exact.mean[0, 0], 21.354415, atol=1e-5)


@pytest.mark.parametrize(
    "closure", ["normal", "poisson", "lognormal", "gamma", "derivative_matching"]
)
def test_closures_err_less_at_higher_order_on_an_easy_system(closure):
    """Each order gains a power of the volume, 20: a factor of 3 at least."""
    net = dimerisation(volume=20.0)
    exact = net.finite_state_projection(tolerance=1e-12).mean[0]
    errors = [
        abs(moment_equations(net, order).close(closure).solve([60.0], [20]).mean[0, 0] - exact)
        for order in (2, 3, 4)
    ]
    assert errors[0] < 0.02 * exact
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3


def test_start_from_moments():
    system = moment_equations(dimerisation(), 2).close("normal")
    path = system.solve([0.0, 1.0], moments=[6.0, 6.0 + 36.0])
    assert_allclose(path.variance[0], [6.0])
    by_counts = system.solve([0.0, 1.0], [6])
    assert abs(path.mean[1, 0] - by_counts.mean[1, 0]) > 1e-3


# --- Steady states


def dimerisation_states_by_hand(volume):
    """Means and variances: d<n>=0 gives <n^2>; with k3=0 the second equation is a cubic in m."""
    a, k = volume**2 / 0.5, volume
    m = np.polynomial.Polynomial([0, 1])
    second = m + a / 2
    third = 3 * m * second - 2 * m**3
    cubic = k * (1 + 2 * m) + 0.5 / volume * (-4 * third + 8 * second - 4 * m)
    means = cubic.roots()
    real = np.sort(means[np.abs(means.imag) < 1e-9].real)
    return real, second(real) - real**2


def test_all_steady_states_of_dimerisation():
    for volume in (0.5, 1.0, 5.0, 40.0):
        states = moment_equations(dimerisation(volume), 2).close("normal").steady_states()
        means, variances = dimerisation_states_by_hand(volume)
        assert states.complete
        assert_allclose([s.mean[0] for s in states], means, rtol=1e-9)
        assert_allclose([s.variance[0] for s in states], variances, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("volume", [1.0, 5.0, 20.0])
def test_all_steady_states_of_closures_that_divide(volume):
    """The second equation times a power of the mean x, with <n^2> = x + a."""
    a, x = volume**2, np.polynomial.Polynomial([0, 1])
    rest = 2 * a * (1 + 2 * x) + 8 * (x + a) - 4 * x
    by_hand = {
        "lognormal": rest * x**3 - 4 * (x + a) ** 3,
        "derivative_matching": rest * x**3 - 4 * (x + a) ** 3,
        "gamma": rest * x - 4 * (2 * (x + a) ** 2 - x**2 * (x + a)),
    }
    for closure, polynomial in by_hand.items():
        states = moment_equations(dimerisation(volume), 2).close(closure).steady_states()
        roots = polynomial.roots()
        assert states.complete
        means = np.sort(roots[np.abs(roots.imag) < 1e-9].real)
        assert_allclose([state.mean[0] for state in states], means, rtol=1e-8)


def test_published_numbers_of_dimerisation_and_schloegl():
    state = moment_equations(dimerisation(), 2).close("normal").steady_states()[-1]
    assert_allclose([state.mean[0], state.variance[0]], [5.101673, 4.074605], atol=1e-6)
    assert state.stable
    states = moment_equations(schloegl(1.0), 2).close("normal").steady_states()
    assert states.complete
    stable = [s.mean[0] for s in states.physical if s.stable]
    assert_allclose(stable, [0.380, 3.009], atol=1e-3)
    assert [s.physical for s in states] == [True, True, False, True]
    assert "variance of X is -1.1" in states[2].unphysical[0]
    unique = moment_equations(schloegl(10.0), 2).close("normal").steady_states()
    assert_allclose([s.mean[0] for s in unique.physical], [19.870], atol=1e-3)


@pytest.mark.parametrize("volume", [1.06, 19.36])
def test_schloegl_window_of_a_unique_physical_state(volume):
    counts = []
    for factor in (0.99, 1.01):
        states = moment_equations(schloegl(volume * factor), 2).close("normal").steady_states()
        assert states.complete
        counts.append(len(states.physical))
    assert sorted(counts) == [1, 3]


def test_brusselator_hopf_point_of_normal_closure():
    growth = []
    for volume in (9.82, 9.85):
        states = moment_equations(brusselator(volume), 2).close("normal").steady_states()
        physical = states.physical
        assert len(physical) == 1
        assert_allclose(physical[0].mean[0], volume, rtol=1e-9)
        assert abs(physical[0].eigenvalues[0].imag) > 0.1
        growth.append(physical[0].eigenvalues[0].real)
    assert growth[0] < 0 < growth[1]


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("order", [2, 3])
def test_steady_states_are_at_rest_and_their_stability_is_that_of_the_flow(closure, order):
    system = moment_equations(dimerisation(), order).close(closure)
    for state in system.steady_states():
        scale = np.abs(state.moments) + 1
        assert np.abs(system.derivative(state.moments) / scale).max() < 1e-7
        plus, minus = (
            np.array([system.derivative(state.moments + s * h) for h in np.diag(1e-5 * scale)])
            for s in (1, -1)
        )
        eigenvalues = np.linalg.eigvals(((plus - minus) / (2e-5 * scale[:, None])).T)
        assert_allclose(
            np.sort_complex(eigenvalues), np.sort_complex(state.eigenvalues), rtol=1e-3, atol=1e-3
        )


def test_search_from_many_starts_finds_the_state_of_the_flow():
    for closure in ("lognormal", "gamma", "derivative_matching"):
        system = moment_equations(dimerisation(), 2).close(closure)
        states = system.steady_states(max_paths=0)
        assert not states.complete
        path = system.solve([200.0], [5])
        assert_allclose(states.physical[-1].moments, path.moments[0], rtol=1e-6)


def test_higher_orders_have_all_their_states():
    """In one species a cumulant of each order: solve by brute force from a grid of starts."""
    system = moment_equations(dimerisation(), 3).close("normal")
    states = system.steady_states()
    assert states.complete
    found = []
    rng = np.random.default_rng(4)
    for _ in range(300):
        m, v, k = rng.uniform(-8, 8), rng.uniform(-15, 30), rng.uniform(-100, 100)
        guess = [m, v + m * m, k + 3 * m * v + m**3]
        end = optimize.root(system.derivative, guess, jac=system.jacobian, tol=1e-12)
        if end.success and np.abs(system.derivative(end.x)).max() < 1e-8:
            found.append(end.x)
    known = np.array([state.moments for state in states])
    assert len(found) > 100
    for point in found:
        assert np.abs(known - point).max(axis=1).min() < 1e-5 * (1 + np.abs(point).max())


def test_newton_search_agrees_with_the_homotopy_on_physical_states():
    for net, order in ((brusselator(10.0), 2), (schloegl(10.0), 4), (schloegl(1.0), 2)):
        system = moment_equations(net, order).close("normal")
        complete, searched = system.steady_states(), system.steady_states(max_paths=0)
        assert complete.complete
        assert not searched.complete
        for state in searched:
            others = np.array([other.moments for other in complete])
            gaps = np.abs(others / state.moments - 1).max(axis=1)
            assert gaps.min() < 1e-6
        assert len(searched.physical) == len(complete.physical)
    with pytest.raises(ValueError, match="max_paths is -1"):
        system.steady_states(max_paths=-1)


@pytest.mark.parametrize("closure", POLYNOMIAL)
@pytest.mark.parametrize(
    ("net", "order"), [(brusselator(3.0), 3), (binding(), 2), (schloegl(2.0), 4)]
)
def test_equations_in_cumulants_are_those_in_moments(closure, net, order):
    system = moment_equations(net, order).close(closure)
    form = cumulant_form(closure, system.indices, system.equations.terms)
    count = len(system.indices)
    point = np.random.default_rng(5).uniform(0.5, 2, count)
    moments = Compiled(form.moments, count)
    rates = [
        sum(
            c * Compiled([term], count).values(point)[0]
            for c, term in zip(net.coefficients, row, strict=True)
        )
        for row in form.rates
    ]
    expected = system.derivative(moments.values(point))
    scale = 1 + np.abs(expected).max()
    assert_allclose(moments.jacobian(point) @ rates, expected, atol=1e-11 * scale)


def test_cumulants_above_the_order_change_no_lower_ones():
    """Third-order gamma and log-normal closure keep what holds the third moment back."""
    for name in ("gamma", "lognormal", "normal", "poisson"):
        system = moment_equations(dimerisation(), 3).close(name)
        third, fourth, mean = (system.equations.symbol(k) for k in (3, 4, 1))
        assert sympy.expand(system.closing()[fourth]).coeff(third) == 4 * mean


def test_text_of_results():
    states = moment_equations(dimerisation(), 2).close("normal").steady_states()
    text = str(states)
    assert text.startswith("3 real steady states (all)")
    assert "mean 5.10167: stable, physical" in text
    assert "the mean of A is -4.862" in text
    assert repr(moment_equations(brusselator(1.0), 2)) == "<moment equations of order 2 for X, Y>"
    assert repr(moment_equations(binding(), 1).close("normal")) == (
        "<normal closure at order 1 for A, B, C>"
    )


def test_conserved_counts_decide_the_steady_state():
    system = moment_equations(binding(), 2).close("normal")
    with pytest.raises(ValueError, match="start is None, but the closed equations conserve"):
        system.steady_states()
    start = [5, 3, 0]
    physical = [s for s in system.steady_states(start).physical if s.stable]
    path = system.solve([100.0], start)
    assert len(physical) == 1
    assert_allclose(physical[0].moments, path.moments[0], rtol=1e-7)
    # no division by the zero count of C, which is no steady value
    divided = moment_equations(binding(), 2).close("lognormal")
    state = divided.steady_states({"A": 5, "B": 3})[-1]
    assert state.stable
    assert_allclose(state.mean, physical[0].mean, rtol=0.02)
    # that closure makes a constant sum correlated with its parts, which no law can
    assert "no law has these means and covariances" in state.unphysical[0]
    later = divided.solve([200.0], [6, 4, 1])
    assert later.unphysical is not None
    assert_allclose(divided.steady_states([6, 4, 1])[-1].moments, later.moments[0], rtol=1e-7)
    with pytest.raises(ValueError, match="start names"):
        system.steady_states({"D": 5})


def test_networks_without_and_with_a_line_of_steady_states():
    growing = moment_equations(network("0 -> A", rates=[2.0]), 2).close("normal")
    states = growing.steady_states()
    assert len(states) == 0
    assert states.complete
    dying = moment_equations(network("A -> 2 A", "A -> 0", rates=[1.0, 2.0]), 2).close("normal")
    assert_allclose(dying.steady_states()[0].moments, 0, atol=1e-12)


# --- Failures


def test_divergence_says_when_and_why():
    system = moment_equations(dimerisation(volume=1.0), 2).close("normal")
    with pytest.raises(
        ClosureDiverged, match=r"'normal' at order 2 diverges at time 1\.39"
    ) as caught:
        system.solve([0.5, 50.0])
    divergence = caught.value.divergence
    assert "⟨A^2⟩ runs away" in divergence.reason
    assert "the mean of A is -" in divergence.reason

    # the same equations, written again: mean and variance with the third cumulant zero
    def rate(_, y):
        m, v = y
        pairs = v + m * m - m
        third = 2 * m * v - v
        return [1 - pairs, 1 - 2 * third + 2 * pairs]

    far = integrate.solve_ivp(
        rate, (0, 5), [0.0, 0.0], method="DOP853", rtol=1e-10, atol=1e-12,
        events=lambda t, y: [abs(y[0]) - 1e5][0], max_step=0.01,
    )  # fmt: skip
    crossing = far.t_events[0][0] if len(far.t_events[0]) else far.t[-1]
    assert_allclose(divergence.time, crossing, rtol=1e-3)


def test_divergence_may_be_allowed():
    system = moment_equations(dimerisation(volume=1.0), 2).close("normal")
    path = system.solve([0.5, 1.0, 50.0], allow_divergence=True)
    assert_allclose(path.times, [0.5, 1.0])
    assert np.isfinite(path.moments).all()
    assert path.divergence is not None
    assert path.unphysical.time < path.divergence.time


@pytest.mark.parametrize("closure", ["lognormal", "gamma", "derivative_matching"])
def test_closure_that_divides_by_a_zero_mean(closure):
    system = moment_equations(dimerisation(), 2).close(closure)
    with pytest.raises(ValueError, match=rf"start makes .*⟨A⟩.* zero, and closure '{closure}'"):
        system.solve([1.0])
    with pytest.raises(ValueError, match="moments makes .*⟨A⟩.* zero"):
        system.solve([1.0], moments=[0.0, 2.0])
    assert system.solve([1.0], [1]).mean[0, 0] > 0


def test_a_mean_that_is_all_but_zero_is_named():
    system = moment_equations(dimerisation(), 2).close("lognormal")
    with pytest.raises(ClosureDiverged, match="divides by ⟨A⟩, which reaches zero"):
        system.solve([1.0], moments=[1e-120, 2.0])


def test_too_many_steps_are_not_called_a_divergence(monkeypatch):
    monkeypatch.setattr("course.moments.closed.MAX_STEPS", 3)
    path = moment_equations(dimerisation(), 2).close("normal").solve([5.0], allow_divergence=True)
    assert len(path.times) == 0
    assert path.divergence.reason == "the integrator has used 3 steps"


def test_mixed_species_are_named_in_a_zero_mean():
    system = moment_equations(brusselator(2.0), 2).close("lognormal")
    with pytest.raises(ValueError, match="⟨Y⟩ zero"):
        system.solve([1.0], {"X": 3})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": [1.0, 0.5]}, "times is"),
        ({"times": [-1.0]}, "times is"),
        ({"times": []}, "times has shape"),
        ({"times": [1.0], "start": [-1]}, "start is .*counts >= 0"),
        ({"times": [1.0], "start": [1, 2]}, "start has shape"),
        ({"times": [1.0], "start": {"B": 1}}, "start names .'B'.; allowed are the species"),
        ({"times": [1.0], "start": [np.nan]}, "start contains NaN"),
        ({"times": [1.0], "moments": [1.0]}, "moments has shape"),
        ({"times": [1.0], "start": [1], "moments": [1.0, 1.0]}, "both given"),
        ({"times": [1.0], "rtol": 0}, "rtol is 0"),
    ],
)
def test_bad_arguments_of_solve(arguments, message):
    with pytest.raises(ValueError, match=message):
        moment_equations(dimerisation(), 2).close("normal").solve(**arguments)


def test_bad_networks_orders_and_closures():
    with pytest.raises(ValueError, match="network is 'A -> B'; allowed are ReactionNetwork"):
        moment_equations("A -> B", 2)
    for order in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="order is"):
            moment_equations(dimerisation(), order)
    with pytest.raises(ValueError, match="closure is 'gaussian'; allowed are 'zero', 'normal'"):
        moment_equations(dimerisation(), 2).close("gaussian")
    for closure in ("lognormal", "gamma"):
        with pytest.raises(ValueError, match=f"order is 1; closure '{closure}'"):
            moment_equations(dimerisation(), 1).close(closure)
    with pytest.raises(ValueError, match="powers is"):
        moment_equations(dimerisation(), 1).symbol(1, 1)
    path = moment_equations(dimerisation(), 1).close("normal").solve([1.0])
    with pytest.raises(ValueError, match="order is 1"):
        _ = path.covariance
    with pytest.raises(ValueError, match=r"powers is \(2,\)"):
        path.moment((2,))


# --- What no law can have


def test_moments_of_laws_are_physical_and_others_are_not():
    law = poisson_law()
    for order in (1, 2, 3, 4):
        indices = multi_indices(2, order)
        good = np.array([law(powers) for powers in indices])
        assert unphysical(good, indices, ("A", "B")) == ()
    assert "mean of A is -1" in unphysical([-1.0, 2.0], ((1,), (2,)), ("A",))[0]
    assert "variance of A is -1" in unphysical([2.0, 3.0], ((1,), (2,)), ("A",))[0]
    indices = multi_indices(2, 2)
    correlated = [1.0, 1.0, 1.5, 1.0 + 0.9, 1.5]  # variances 0.5, covariance 0.9
    assert "covariances" in unphysical(correlated, indices, ("A", "B"))[0]
    # kurtosis below one plus the skewness squared, and a third moment that needs negative counts
    one = multi_indices(1, 4)
    assert "up to order 4" in unphysical([0.5, 1.25, 1.625, 2.0], one, ("A",))[0]
    raw = [1.0, 2.0, 1.0]
    assert "counts of A >= 0" in unphysical(raw, multi_indices(1, 3), ("A",))[0]


# --- Linear noise


def test_linear_noise_of_the_brusselator():
    mean, covariance = linear_noise(brusselator(10.0, (1.0, 1.5, 1.0, 1.0)), [9.0, 16.0])
    assert_allclose(mean, [10, 15])
    assert_allclose(covariance, [[70, -60], [-60, 105]])


def test_linear_noise_is_the_limit_of_large_volume():
    exact = dimerisation(2000.0).finite_state_projection(tolerance=1e-6, max_states=10_000)
    found = linear_noise(dimerisation(2000.0), [2000])
    assert_allclose(found.mean, exact.mean, rtol=1e-3)
    assert_allclose(found.covariance, exact.covariance, rtol=1e-3)
    half = linear_noise(dimerisation(2000.0, convention="combinations"), [2000])
    assert_allclose(half.mean / found.mean, math.sqrt(2))


def test_linear_noise_refuses_what_has_none():
    with pytest.raises(RuntimeError, match="not stable"):
        linear_noise(brusselator(1.0, (1.0, 3.0, 1.0, 1.0)), [1, 3])
    with pytest.raises(RuntimeError, match="no fixed point"):
        linear_noise(network("0 -> A", "2 A -> 3 A", rates=[1.0, 1.0]), [1])
    with pytest.raises(ValueError, match="conserves"):
        linear_noise(binding(), [1, 1, 1])
    with pytest.raises(ValueError, match="near has shape"):
        linear_noise(dimerisation(), [1, 1])


def test_linear_hierarchy_equals_the_matrix_exponential():
    equations = moment_equations(network("0 -> A", "A -> 0", rates=[3.0, 0.5]), 2)
    whole = np.zeros((3, 3))
    whole[1:, 0], whole[1:, 1:] = equations.constant, equations.matrix
    expected = linalg.expm(1.3 * whole) @ [1, 4, 16]
    path = equations.close("normal").solve([1.3], [4])
    assert_allclose(path.moments[0], expected[1:], rtol=1e-9)


@pytest.mark.parametrize("volume", [1e8, 1e13, 1e16])
def test_small_variances_of_large_counts_are_not_lost(volume):
    path = moment_equations(dimerisation(volume), 2).close("normal").solve([0.0, 30.0])
    assert_allclose(path.variance[:, 0] / volume, [0, 0.75], atol=1e-7)
    assert path.moments[0].tolist() == [0, 0]


@pytest.mark.parametrize("closure", ["normal", "lognormal"])
def test_covariances_are_those_of_the_raw_moments(closure):
    binding = network("0 -> A", "A + B -> C", "0 -> B", "C -> 0", rates=[2, 1, 3, 1])
    system = moment_equations(binding, 3).close(closure)
    path = system.solve([0.0, 0.4], {"A": 3, "B": 2, "C": 1})
    for i, j, powers in ((0, 1, (1, 1, 0)), (1, 2, (0, 1, 1)), (2, 2, (0, 0, 2))):
        expected = path.moment(powers) - path.mean[:, i] * path.mean[:, j]
        assert_allclose(path.covariance[:, i, j], expected, atol=1e-9)


@pytest.mark.parametrize("closure", ["lognormal", "derivative_matching", "gamma"])
@pytest.mark.parametrize("volume", [40.0, 1000.0])
def test_steady_states_that_the_equations_run_to_are_in_the_list(closure, volume):
    system = moment_equations(schloegl(volume), 2).close(closure)
    states = system.steady_states()
    assert states.complete
    for start in (0.5, 3.0):
        end = system.solve([200.0], [start * volume]).moments[-1]
        assert min(np.abs(state.moments / end - 1).max() for state in states) < 1e-4


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("volume", [7.0, 100.0])
def test_a_linear_closure_has_one_steady_state(order, volume):
    system = moment_equations(dimerisation(volume), order).close("zero")
    (state,) = states = system.steady_states()
    assert states.complete
    exact = np.linalg.solve(system.equations.matrix, -system.equations.constant)
    assert_allclose(state.moments, exact, rtol=1e-6)


def test_steady_states_of_a_high_order_with_divisions_are_searched_without_failure():
    states = moment_equations(dimerisation(1.0), 4).close("derivative_matching").steady_states()
    assert len(states)


def test_number_of_steady_states_does_not_depend_on_the_units():
    numbers = [
        len(moment_equations(dimerisation(volume), 4).close("normal").steady_states())
        for volume in (20.0, 100.0)
    ]
    assert numbers == [5, 5]
