"""The namespace that CKAN and its extensions share.

A wheel has no such file, its .pth does the same. This one counts where this directory, or CKAN's own, is used as it is.
"""
try:
    from pkg_resources import declare_namespace
except ImportError:
    from pkgutil import extend_path

    __path__ = extend_path(__path__, __name__)
else:
    declare_namespace(__name__)
