"""Reading instances from files and public sets, and writing data set folders. Pure: no database, no web.

Readers stream :class:`~feedback.formats.records.ImportedInstance` or
:class:`~feedback.formats.records.RowError`; see :data:`feedback.formats.sources.SOURCES`.
Writers take plain dict rows; see :func:`feedback.formats.writers.write_dataset`.
"""
