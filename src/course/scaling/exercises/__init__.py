"""The part's exercises: which module holds which checker."""

CHECKERS = {
    **{f"scaling.{number}": "four_regimes" for number in range(1, 5)},
    **{f"scaling.{number}": "kernel_regression" for number in range(5, 9)},
    **{f"scaling.{number}": "random_features" for number in range(9, 13)},
    **{f"scaling.{number}": "compute_phases" for number in range(13, 17)},
}
