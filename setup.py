"""Read everything about the package from `settings.ini`, where nbdev 2 keeps it."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
classifiers = {
    "status": {"3": "Development Status :: 3 - Alpha", "4": "Development Status :: 4 - Beta"},
    "audience": {"Developers": "Intended Audience :: Developers"},
}
licences = {"apache2": "Apache-2.0"}
readme = Path("README.md").read_text(encoding="utf-8")
for folder, view in (("docs", "raw"), ("nbs", "blob")):  # links that work outside the repository, as on PyPI
    readme = readme.replace(f"]({folder}/", f"]({cfg['git_url']}/{view}/{cfg['branch']}/{folder}/")

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme,
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    license=licences[cfg["license"]],
    license_files=["LICENSE", "minibatch_mlp/assets/mnist.md"],
    keywords=cfg["keywords"],
    url=cfg["git_url"],
    project_urls={"Documentation": cfg["doc_host"] + cfg["doc_baseurl"], "Source": cfg["git_url"]},
    classifiers=[names[cfg[key]] for key, names in classifiers.items()]
    + [f"Natural Language :: {cfg['language']}", "Programming Language :: Python :: 3"],
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=[cfg["lib_name"], cfg["lib_name"] + ".*"]),
    include_package_data=True,
    install_requires=cfg["requirements"].split(),
    extras_require={extra: cfg[f"{extra}_requirements"].split() for extra in ("dev", "docs", "fast", "tensorboard")},
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "nbdev": [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"],  # lets other nbdev projects link to these pages
    },
    zip_safe=False,
)
