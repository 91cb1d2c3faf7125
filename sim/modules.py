def run_all(bundle, simulator, seed): return {}
