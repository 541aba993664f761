"""python -m eval compare A B ...: runs on identical items, with paired statistics, and one page to read them by."""
