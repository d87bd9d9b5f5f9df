"""The module `SampleData`: records what is registered, and downloads nothing."""


class SampleDataLogic:
    """Keeps the categories (name to title) and sources (keyword arguments) that are registered."""

    categories: dict[str, str] = {}  # noqa: RUF012 (the record of the process)
    sources: list[dict] = []  # noqa: RUF012

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str = "") -> None:
        SampleDataLogic.categories[category] = title

    @staticmethod
    def registerCustomSampleDataSource(**options) -> None:
        SampleDataLogic.sources.append(options)
