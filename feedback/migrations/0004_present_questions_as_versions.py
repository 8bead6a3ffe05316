"""Data: the questions that each task asks now become their version, and its assignments ask them."""

from django.db import migrations
from django.db.models import OuterRef, Subquery


def write_versions(apps, schema_editor):
    Task = apps.get_model("feedback", "Task")
    QuestionsVersion = apps.get_model("feedback", "QuestionsVersion")
    Assignment = apps.get_model("feedback", "Assignment")
    QuestionsVersion.objects.bulk_create(
        (
            QuestionsVersion(
                task=task, number=task.questions_version, questions=task.questions, created_by_id=task.created_by_id
            )
            for task in Task.objects.iterator()
        ),
        batch_size=500,
    )
    number = Task.objects.filter(pk=OuterRef("task")).values("questions_version")
    Assignment.objects.update(questions_version=Subquery(number))


def forget_versions(apps, schema_editor):
    apps.get_model("feedback", "QuestionsVersion").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("feedback", "0003_questions_versions")]

    operations = [migrations.RunPython(write_versions, forget_versions)]
