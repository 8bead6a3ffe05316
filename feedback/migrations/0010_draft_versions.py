"""Every task has a row for its draft, whose version never starts anew."""

from django.db import migrations, models


def make_rows(apps, schema_editor):
    QuestionsDraft = apps.get_model("feedback", "QuestionsDraft")
    undrafted = apps.get_model("feedback", "Task").objects.filter(questions_draft=None)
    QuestionsDraft.objects.bulk_create(
        (QuestionsDraft(task=task, updated_by_id=task.created_by_id) for task in undrafted.iterator()),
        batch_size=500,
    )


def drop_rows(apps, schema_editor):
    apps.get_model("feedback", "QuestionsDraft").objects.filter(changes__isnull=True).delete()


class Migration(migrations.Migration):
    dependencies = [("feedback", "0009_owed_slots")]

    operations = [
        migrations.RenameField("questionsdraft", "questions", "changes"),
        migrations.AlterField("questionsdraft", "changes", models.JSONField(null=True)),
        migrations.AlterField("questionsdraft", "version", models.PositiveIntegerField(default=0)),
        migrations.RunPython(make_rows, drop_rows, elidable=True),
    ]
