"""The part's exercises: which module holds which checker."""

CHECKERS = {
    **{f"moments.{number}": "kinetics" for number in range(1, 5)},
    **{f"moments.{number}": "hierarchy" for number in range(5, 9)},
    **{f"moments.{number}": "validity" for number in range(9, 13)},
    **{f"moments.{number}": "learning_dynamics" for number in range(21, 25)},
}
