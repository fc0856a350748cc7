"""The part's exercises: which module holds which checker."""

CHECKERS = {
    **{f"hebbian.{number}": "hopfield" for number in range(1, 5)},
    **{f"hebbian.{number}": "replica" for number in range(5, 9)},
    **{f"hebbian.{number}": "dense" for number in range(13, 17)},
    **{f"hebbian.{number}": "examples" for number in range(17, 21)},
}
