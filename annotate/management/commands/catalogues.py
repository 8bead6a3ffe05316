"""``manage.py catalogues``: bring the translations up to date with the pages, and say what is missing."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from ... import catalogues


class Command(BaseCommand):
    help = "Collect the words of the annotator's pages into locale/*/LC_MESSAGES/*.po, and compile them."

    def handle(self, *args: Any, **options: Any) -> None:
        for language in catalogues.LANGUAGES:
            for domain in catalogues.DOMAINS:
                missing = catalogues.untranslated(catalogues.update(language, domain))
                self.stdout.write(f"{language} {domain}: {len(missing)} untranslated")
                for words in missing:
                    self.stdout.write(f"  {words}")
