"""The parts of a run, which verbs and studies share: material, teacher, student, files, record."""
