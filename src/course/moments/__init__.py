"""Part V, moment closure: where an infinite hierarchy of moments can be cut."""

from course import exports

__getattr__, __dir__, __all__ = exports.lazy(
    __name__,
    {
        "ReactionNetwork": ".kinetics",
        "linear_noise": ".hierarchy",
        "moment_equations": ".hierarchy",
        "validity": ".validity_report",
        "committee_integrals": ".learning_dynamics",
        "committee_dynamics": ".learning_dynamics",
    },
)
