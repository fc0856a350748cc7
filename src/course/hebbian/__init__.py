"""Part IV, replica theory of Hebbian networks: what a network can store, and what follows."""

from course import exports

__getattr__, __dir__, __all__ = exports.lazy(
    __name__,
    {
        "retrieve": ".monte_carlo",
        "hopfield_rs": ".replica",
        "critical_load": ".replica",
        "hopfield_1rsb_capacity": ".symmetry_breaking",
        "dense_rs": ".dense",
        "dense_critical_load": ".dense",
        "learning_threshold": ".examples",
    },
)
