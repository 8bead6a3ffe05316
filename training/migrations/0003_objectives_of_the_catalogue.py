"""Objectives are named by the catalogue in the code; a run keeps only the options that its objective reads."""

from django.db import migrations, models

READ = {"bt": {"label_smoothing", "margin_scale", "centring"}, "dpo": {"beta", "label_smoothing"}}


def keep_own_options(apps, schema_editor):
    Run = apps.get_model("training", "Run")
    for run in Run.objects.exclude(config__objective_options=None).iterator():
        options = run.config.get("objective_options") or {}
        if run.objective == "dpo" and options.get("loss_type") in ("ipo", "hinge"):
            run.objective = options["loss_type"]
        known = READ["bt" if run.objective == "bt" else "dpo"]
        run.config["objective_options"] = {name: value for name, value in options.items() if name in known}
        run.save(update_fields=["objective", "config"])


class Migration(migrations.Migration):

    dependencies = [
        ("training", "0002_held_out"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="run", name="run_objective"),
        migrations.AlterField(model_name="run", name="objective", field=models.CharField(max_length=40)),
        migrations.RunPython(keep_own_options, migrations.RunPython.noop),
    ]
