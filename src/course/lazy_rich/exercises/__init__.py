"""The part's exercises: which module holds which checker."""

CHECKERS = {
    **{f"lazy_rich.{number}": "deep_linear" for number in range(1, 5)},
    **{f"lazy_rich.{number}": "laziness" for number in range(5, 9)},
    **{f"lazy_rich.{number}": "feature_learning" for number in range(9, 13)},
    **{f"lazy_rich.{number}": "grokking" for number in range(13, 17)},
}
