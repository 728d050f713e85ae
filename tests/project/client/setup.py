from Cython.Build import cythonize
from setuptools import setup

setup(name="client", ext_modules=cythonize("client.pyx"))
