"""The part's exercises: which module holds which checker."""

CHECKERS = {
    **{f"ntk.{number}": "gaussian_process" for number in range(1, 5)},
    **{f"ntk.{number}": "tangent_kernel" for number in range(5, 9)},
    **{f"ntk.{number}": "gradient_flow" for number in range(9, 13)},
}
