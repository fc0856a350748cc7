"""The committee machine: integrals, closed equations, and two independent simulations."""

import math

import numpy as np
import pytest
from scipy.special import erf

from course import runtime
from course.moments.learning_dynamics import (
    CommitteePath,
    committee_dynamics,
    committee_integrals,
    committee_plateau,
    escape_time,
    escape_times,
    generalisation_error,
    overlap_chain,
    train_committee,
)

T = np.eye(2)
START = {"Q": np.diag([0.2, 0.3]), "R": np.diag([0.1, 0.1]), "T": T}


def g(x):
    return erf(x / math.sqrt(2))


def slope(x):
    return math.sqrt(2 / math.pi) * np.exp(-(x**2) / 2)


def random_covariance(seed, size=4):
    root = runtime.rng(seed).standard_normal((size, size)) / 3
    return root @ root.T


def grid(covariance, count=24):
    """Nodes and weights of a product rule for normal fields."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    size = len(covariance)
    z = np.stack(np.meshgrid(*[nodes] * size, indexing="ij"), -1).reshape(-1, size)
    mass = np.prod(np.meshgrid(*[weights / weights.sum()] * size, indexing="ij"), 0).ravel()
    return z @ np.linalg.cholesky(covariance).T, mass


@pytest.mark.parametrize("seed", [1, 2])
def test_integrals_agree_with_quadrature_for_all_tuples(seed):
    covariance = random_covariance(seed)
    u, mass = grid(covariance)
    I2, I3, I4 = committee_integrals(covariance)
    a, b = slope(u), g(u)
    weighted = mass[:, None] * b
    np.testing.assert_allclose(I2, weighted.T @ b, atol=2e-5)
    np.testing.assert_allclose(I3, np.einsum("na,nb,nc->abc", a, u, weighted), atol=2e-5)
    pairs = np.einsum("na,nb->nab", a, a).reshape(len(a), -1)
    products = np.einsum("nc,nd->ncd", weighted, b).reshape(len(a), -1)
    np.testing.assert_allclose(I4.reshape(16, 16), pairs.T @ products, atol=2e-5)


def test_integrals_of_equal_and_of_constant_fields():
    I2, I3, I4 = committee_integrals(np.full((3, 3), 0.7))
    for tensor in (I2, I3, I4):
        assert np.ptp(tensor) < 1e-14
    u, mass = grid(np.array([[0.7]]), 100)
    u = u[:, 0]
    assert I4[0, 1, 2, 0] == pytest.approx(mass @ (slope(u) ** 2 * g(u) ** 2), abs=1e-10)
    for tensor in committee_integrals(np.zeros((2, 2))):
        assert not tensor.any()


@pytest.mark.parametrize(
    "covariance", [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.1], [0.2, 1.0]], np.ones((2, 3)), [1.0],
                   [[np.nan]]],
)  # fmt: skip
def test_what_is_no_covariance_is_refused(covariance):
    with pytest.raises(ValueError, match="covariance"):
        committee_integrals(covariance)


def test_error_before_and_after_learning():
    assert generalisation_error(T, T, T) == pytest.approx(0, abs=1e-15)
    assert generalisation_error([[0.0]], [[0.0, 0.0]], T) == pytest.approx(1 / 3)


def test_one_student_reaches_the_known_error():
    path = committee_dynamics([[0.25]], [[0.0]], [[1.0]], learning_rate=1.0, times=[0.0, 5.0])
    assert path.error[1] == pytest.approx(0.0103295454, abs=1e-9)
    assert path.Q[0] == [[0.25]]


def test_first_step_is_the_average_over_drawn_inputs():
    """The derivative of the closed equations, by drawing fields."""
    Q, R = np.array([[0.5, 0.2], [0.2, 0.6]]), np.array([[0.4, 0.3], [0.1, 0.5]])
    u, mass = grid(np.block([[Q, R], [R.T, T]]))
    delta = slope(u[:, :2]) * (g(u[:, 2:]).sum(1) - g(u[:, :2]).sum(1))[:, None]
    weighted = mass[:, None] * delta
    along = weighted.T @ u[:, :2]
    eta, step = 1.3, 1e-5
    path = committee_dynamics(Q, R, T, learning_rate=eta, times=[step])
    expected = eta * (along + along.T) + eta**2 * weighted.T @ delta
    np.testing.assert_allclose((path.Q[0] - Q) / step, expected, atol=1e-4)
    np.testing.assert_allclose((path.R[0] - R) / step, eta * weighted.T @ u[:, 2:], atol=1e-4)


def test_more_students_than_teachers_and_a_singular_teacher():
    path = committee_dynamics(
        0.2 * np.eye(3), np.zeros((3, 2)), np.ones((2, 2)), learning_rate=0.3, times=[0.0, 50.0]
    )
    assert path.Q.shape == (2, 3, 3)
    assert path.R.shape == (2, 3, 2)
    assert path.error[1] < 0.05 * path.error[0]
    np.testing.assert_allclose(path.R[1, :, 0], path.R[1, :, 1], atol=1e-9)


@pytest.mark.parametrize("units", [2, 3, 5])
def test_plateau_at_small_rate(units):
    found = committee_plateau(units)
    expected = units / math.pi * (math.pi / 6 - units * math.asin(1 / (2 * units)))
    assert found.error == pytest.approx(expected, rel=1e-12)
    escape = 2 * units / (math.pi * math.sqrt(2 * units - 1) * (2 * units + 1) ** 1.5)
    assert found.growth == pytest.approx(escape, rel=1e-6)
    near = committee_plateau(units, learning_rate=0.01)
    assert near.error == pytest.approx(expected, rel=0.02)
    assert near.growth == pytest.approx(0.01 * escape, rel=0.02)
    assert near.Q > near.C


def test_plateau_attracts_symmetric_starts():
    found = committee_plateau(2, learning_rate=1.5)
    Q, R = np.array([[0.9, 0.1], [0.1, 0.9]]), np.full((2, 2), 0.3)
    path = committee_dynamics(Q, R, T, learning_rate=1.5, times=[200.0])
    np.testing.assert_allclose(path.Q[0, 0], [found.Q, found.C], rtol=2e-4)
    assert path.error[0] == pytest.approx(found.error, rel=2e-4)


def test_plateau_says_where_there_is_none():
    with pytest.raises(RuntimeError, match="learning rate 2"):
        committee_plateau(5, learning_rate=2.0)


def test_network_and_chain_have_the_same_law_far_from_the_limit():
    options = {**START, "inputs": 12, "learning_rate": 1.5, "times": [0.0, 4.0], "runs": 3000}
    full, chain = (f(**options, rng=runtime.rng(3)) for f in (train_committee, overlap_chain))
    np.testing.assert_allclose(full.Q[:, 0], np.broadcast_to(START["Q"], (3000, 2, 2)), atol=1e-12)
    np.testing.assert_allclose(chain.R[:, 0], np.broadcast_to(START["R"], (3000, 2, 2)), atol=1e-12)
    for one, two in ((full.Q, chain.Q), (full.R, chain.R)):
        for power in (1, 2):
            x, y = one[:, 1] ** power, two[:, 1] ** power
            error = np.sqrt((x.var(0) + y.var(0)) / 3000)
            assert (np.abs(x.mean(0) - y.mean(0)) < 4.5 * error).all()


@pytest.mark.parametrize("students", [1, 3])
def test_chain_follows_the_closed_equations_in_large_networks(students):
    Q, R = 0.3 * np.eye(students), np.full((students, 2), 0.1)
    options = {"learning_rate": 1.0, "times": [6.0]}
    path = overlap_chain(Q, R, T, inputs=20_000, runs=20, rng=runtime.rng(4), **options)
    limit = committee_dynamics(Q, R, T, **options)
    for found, expected in ((path.Q, limit.Q), (path.R, limit.R)):
        error = found[:, 0].std(0) / math.sqrt(20)
        assert (np.abs(found[:, 0].mean(0) - expected[0]) < 5 * error + 1e-3).all()


def test_by_hand_step_of_the_network():
    """One step with binary inputs on the axes: every outcome can be listed."""
    J, B = np.diag([0.5, 0.4]) @ np.eye(2, 4), np.eye(4)[2:]
    path = train_committee(
        J @ J.T, J @ B.T, B @ B.T, inputs=4, learning_rate=2.0, times=[0.25], runs=64,
        rng=runtime.rng(5), law="binary", frame="axes",
    )  # fmt: skip
    outcomes = []
    for xi in np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, -1).T:
        x, y = J @ xi, B @ xi
        new = J + 2 / 4 * np.outer(slope(x) * (g(y).sum() - g(x).sum()), xi)
        outcomes.append(new @ new.T)
    found = path.Q[:, 0].reshape(64, 1, 4) - np.reshape(outcomes, (1, 16, 4))
    assert np.abs(found).max(2).min(1).max() < 1e-12
    assert len(set(np.abs(found).max(2).argmin(1))) > 2


def test_threads_do_not_change_the_runs():
    options = {**START, "inputs": 30, "learning_rate": 1.0, "times": [2.0]}
    four = overlap_chain(**options, runs=4, rng=runtime.rng(6))
    again = overlap_chain(**options, runs=4, rng=runtime.rng(6))
    np.testing.assert_array_equal(four.Q, again.Q)


def test_one_start_for_each_run():
    Q = np.stack([0.2 * np.eye(2), 0.5 * np.eye(2)])
    path = overlap_chain(
        Q, np.zeros((2, 2, 2)), T, inputs=50, learning_rate=1.0, times=[0.0], runs=2,
        rng=runtime.rng(7),
    )  # fmt: skip
    np.testing.assert_allclose(path.Q[:, 0], Q, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Q": np.eye(3)}, "Q has shape"),
        ({"T": np.eye(3)}, "T has shape"),
        ({"Q": [[1.0, 0.1], [0.2, 1.0]]}, "symmetric"),
        ({"R": 2 * np.eye(2)}, "eigenvalue"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"times": [2.0, 1.0]}, "times"),
        ({"times": [-1.0]}, "times"),
    ],
)
def test_bad_arguments_are_named(change, words):
    options = {**START, "learning_rate": 1.0, "times": [1.0]} | change
    with pytest.raises(ValueError, match=words):
        committee_dynamics(**options)
    with pytest.raises(ValueError, match=words):
        train_committee(**options, inputs=10, runs=2, rng=runtime.rng(8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": 3}, "inputs"),
        ({"runs": 0}, "runs"),
        ({"rng": 1}, "rng"),
        ({"law": "uniform"}, "law"),
        ({"frame": "left"}, "frame"),
        ({"Q": np.stack([np.eye(2)] * 3), "R": np.zeros((3, 2, 2))}, "3 starts"),
    ],
)
def test_bad_simulations_are_named(change, words):
    options = {**START, "learning_rate": 1.0, "times": [1.0], "inputs": 10, "runs": 2,
               "rng": runtime.rng(9)}  # fmt: skip
    with pytest.raises(ValueError, match=words):
        train_committee(**options | change)


def fake_path(errors):
    """A path of one student whose error is a given number: Q = T and R below it."""
    R = 2 * np.sin(math.pi / 2 * (1 / 3 - np.array(errors)))
    return CommitteePath(
        np.arange(len(errors), dtype=float), np.ones((len(errors), 1, 1)), R[:, None, None],
        np.eye(1),
    )  # fmt: skip


def test_escape_is_the_last_crossing():
    path = fake_path([0.3, 0.1, 0.2, 0.05, 0.01])
    np.testing.assert_allclose(path.error, [0.3, 0.1, 0.2, 0.05, 0.01], atol=1e-12)
    assert escape_time(path, 0.15) == pytest.approx(2 + 0.05 / 0.15)
    assert escape_time(path, 0.005) == np.inf
    assert escape_time(path, 0.4) == 0.0


def test_escape_times_are_those_of_single_chains():
    found = escape_times(
        inputs=[100, 300], runs=3, learning_rate=1.5, variance=0.3, end=120.0, seed=1
    )["times"]
    assert found.shape == (3, 2)
    assert (found > 5).all()
    with pytest.raises(ValueError, match="end"):
        escape_times(inputs=[100], runs=3, learning_rate=1.5, variance=0.3, end=0.5, seed=1)
