"""``experiment=<name>`` is the file ``<name>.yaml`` of an experiments folder.

Hydra wants a group to be a folder of that name; here the folders of
:func:`~lightning_gen.config.paths.experiment_dirs` are shown to it as the group ``experiment``.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin

from hydra._internal.core_plugins.file_config_source import FileConfigSource  # isort: skip
from hydra._internal.sources_registry import SourcesRegistry  # isort: skip

from lightning_gen.config.paths import experiment_dirs

GROUP = "experiment"


class ExperimentSource(ConfigSource):
    """A folder of experiments as the group ``experiment``."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self.files = FileConfigSource(provider, f"file://{self.path}")

    @staticmethod
    def scheme() -> str:
        """Prefix of such folders on Hydra's search path."""
        return "experiments"

    def available(self) -> bool:
        """Whether the folder exists."""
        return self.files.available()

    def is_group(self, config_path: str) -> bool:
        """Whether a path is the one group of this source."""
        return config_path.strip("/") in {"", GROUP}

    def is_config(self, config_path: str) -> bool:
        """Whether a path is ``experiment/<name>`` of a file here."""
        group, _, name = config_path.partition("/")
        return group in {GROUP} and bool(name) and self.files.is_config(name)

    def load_config(self, config_path: str) -> ConfigResult:
        """Load ``experiment/<name>``."""
        return self.files.load_config(config_path.partition("/")[2])

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """List the group, or the experiments in it."""
        if config_path.strip("/") in {GROUP}:
            return self.files.list("", results_filter)
        return [GROUP] if results_filter in (None, ObjectType.GROUP) else []


class ExperimentSearchPath(SearchPathPlugin):
    """Puts the experiments folders on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append each folder."""
        for folder in experiment_dirs():
            search_path.append("lightning_gen", f"{ExperimentSource.scheme()}://{folder}")


def register() -> None:
    """Make Hydra know both; calling it again changes nothing."""
    plugins = Plugins.instance()
    SourcesRegistry.instance().register(ExperimentSource)
    if ExperimentSearchPath not in plugins.discover(SearchPathPlugin):
        plugins.register(ExperimentSearchPath)
