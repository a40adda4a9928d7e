"""Torture of a cluster: is all that was acknowledged everywhere, once, whatever happens?"""
