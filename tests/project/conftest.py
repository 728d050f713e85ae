from kit.examples import run_example  # noqa: F401 (a fixture)
