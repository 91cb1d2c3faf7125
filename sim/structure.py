from types import SimpleNamespace
def check(bundle): return SimpleNamespace(problems=[])
