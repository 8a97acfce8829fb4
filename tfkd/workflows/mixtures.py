"""What a run's metrics.json says of a student's teachers, so that they can be heard again."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.distillation.mixing import Mixing


@dataclasses.dataclass(frozen=True)
class KeptMixture:
    """The teachers of a student and how they were weighed.

    Attributes:
        folders: Model folder by the teacher's name, in the order of the weights.
        mixing: `Mixing` with the weights that were used, given or learned.
    """

    folders: Mapping[str, str]
    mixing: Mixing

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"folders": dict(self.folders), "mixing": self.mixing.to_dict()}

    @classmethod
    def read(cls, run: RunFolder) -> "KeptMixture | None":
        """That of a finished run, or None where one teacher or none was asked."""
        kept = artifacts.read_json(run.metrics).get("mixture")
        if kept is None:
            return None
        return cls(kept["folders"], Mixing.from_mapping(kept["mixing"], str(run.metrics)))
