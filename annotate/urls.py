"""The table of contents. One URL, one function."""

from __future__ import annotations

from django.urls import URLPattern, include, path

from .views import (
    account,
    adjudication,
    builder,
    comments,
    datasets,
    definitions,
    errors,
    imports,
    instance,
    instances,
    jobs,
    judge,
    label,
    media,
    models,
    overview,
    own,
    people,
    preview,
    projects,
    routing,
    settings,
    tasks,
    training,
)

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.crashed


def _questions_of_a_task(at: str) -> list[URLPattern]:
    return [
        path(at, builder.questions, name="task-questions"),
        path(f"{at}keep/", builder.question_keep, name="question-keep"),
        path(f"{at}go/", builder.question_open, name="question-open"),
        path(f"{at}add/", builder.question_add, name="question-add"),
        path(f"{at}preset/", builder.questions_preset, name="questions-preset"),
        path(f"{at}<int:place>/duplicate/", builder.question_duplicate, name="question-duplicate"),
        path(f"{at}<int:place>/move/", builder.question_move, name="question-move"),
        path(f"{at}<int:place>/remove/", builder.question_remove, name="question-remove"),
        path(f"{at}json/", builder.questions_json, name="questions-json"),
        path(f"{at}discard/", builder.questions_discard, name="questions-discard"),
        path(f"{at}review/", builder.questions_review, name="questions-review"),
        path(f"{at}preview/", preview.task_preview, name="task-preview"),
        path(f"{at}preview/room/", preview.task_preview_room, name="task-preview-room"),
        path(f"{at}preview/answer/", preview.task_preview_answer, name="task-preview-answer"),
    ]


urlpatterns = [
    # people come in
    path("account/", include("allauth.account.urls")),
    path("account/2fa/", include("allauth.mfa.urls")),
    path("account/link/<str:secret>/", account.login_link, name="login-link"),
    path("account/invitation/<str:secret>/", account.invitation, name="invitation"),
    path("account/keys/", own.keys, name="keys"),
    path("account/language/", account.language, name="language"),
    path("account/tokens/", account.tokens, name="tokens"),
    path("account/tokens/<uuid:token>/revoke/", account.token_revoke, name="token-revoke"),
    # projects and tasks
    path("", projects.projects, name="projects"),
    path("projects/new/", projects.project_create, name="project-create"),
    path("p/<uuid:project>/", overview.overview, name="overview"),
    path("p/<uuid:project>/settings/", settings.settings, name="settings"),
    path("p/<uuid:project>/people/", people.people, name="people"),
    path("p/<uuid:project>/people/invite/", people.invite, name="invite"),
    path("p/<uuid:project>/people/<uuid:member>/role/", people.member_role, name="member-role"),
    path("p/<uuid:project>/people/<uuid:member>/remove/", people.member_remove, name="member-remove"),
    path("p/<uuid:project>/tasks/", tasks.tasks, name="tasks"),
    path("p/<uuid:project>/tasks/new/", tasks.task_create, name="task-create"),
    path("p/<uuid:project>/tasks/<uuid:task>/", tasks.task, name="task"),
    path("p/<uuid:project>/tasks/<uuid:task>/edit/", tasks.task_edit, name="task-edit"),
    path("p/<uuid:project>/tasks/import/", definitions.task_import, name="task-import"),
    path("p/<uuid:project>/tasks/<uuid:task>/definition/", definitions.task_export, name="task-export"),
    path("p/<uuid:project>/presets/<slug:preset>/", preview.preset, name="preset"),
    path("p/<uuid:project>/presets/<slug:preset>/room/", preview.preset_room, name="preset-room"),
    path("p/<uuid:project>/presets/<slug:preset>/answer/", preview.preset_answer, name="preset-answer"),
    *_questions_of_a_task("p/<uuid:project>/tasks/<uuid:task>/questions/"),
    path("p/<uuid:project>/tasks/<uuid:task>/open/", tasks.task_open, name="task-open"),
    path("p/<uuid:project>/tasks/<uuid:task>/close/", tasks.task_close, name="task-close"),
    path("p/<uuid:project>/tasks/<uuid:task>/media/", media.media_files, name="media"),
    path("p/<uuid:project>/tasks/<uuid:task>/media/<uuid:media>/", media.media_file, name="media-file"),
    # labelling
    path("label/", label.label_queue, name="queue"),
    path("label/history/", own.history, name="history"),
    path("label/<uuid:task>/", label.work, name="work"),
    path("label/<uuid:task>/prepared/", label.prepared, name="prepared"),
    path("label/<uuid:task>/beside/", own.beside, name="beside"),
    path("label/assignment/<uuid:assignment>/draft/", label.draft, name="draft"),
    path("label/assignment/<uuid:assignment>/submit/", label.submit, name="submit"),
    path("label/assignment/<uuid:assignment>/hand-back/", label.hand_back, name="hand-back"),
    path("label/assignment/<uuid:assignment>/undo/", label.undo, name="undo"),
    path("label/assignment/<uuid:assignment>/skip/", label.skip, name="skip"),
    path("label/assignment/<uuid:assignment>/flag/", label.flag, name="flag"),
    path("label/annotation/<uuid:annotation>/", label.edit, name="annotation-edit"),
    path("label/annotation/<uuid:annotation>/draft/", label.edit_draft, name="annotation-draft"),
    # instances and imports
    path("p/<uuid:project>/instances/", instances.instances, name="instances"),
    path("p/<uuid:project>/instances/change/", instances.instances_change, name="instances-change"),
    path("p/<uuid:project>/instances/<uuid:instance>/", instance.instance, name="instance"),
    path("p/<uuid:project>/instances/<uuid:instance>/comments/", comments.thread, name="thread"),
    path("p/<uuid:project>/instances/<uuid:instance>/comments/add/", comments.comment_add, name="comment-add"),
    path("p/<uuid:project>/comments/<uuid:comment>/edit/", comments.comment_edit, name="comment-edit"),
    path("p/<uuid:project>/comments/<uuid:comment>/delete/", comments.comment_delete, name="comment-delete"),
    path("p/<uuid:project>/comments/<uuid:comment>/resolve/", comments.comment_resolve, name="comment-resolve"),
    path("p/<uuid:project>/comments/<uuid:comment>/reopen/", comments.comment_reopen, name="comment-reopen"),
    path("p/<uuid:project>/flags/<uuid:flag>/decide/", instance.flag_decide, name="flag-decide"),
    path(
        "p/<uuid:project>/assignments/<uuid:assignment>/requeue/",
        instance.assignment_requeue,
        name="assignment-requeue",
    ),
    path("p/<uuid:project>/adjudication/", adjudication.adjudication, name="adjudication"),
    path("p/<uuid:project>/adjudication/<uuid:instance>/", adjudication.adjudicate, name="adjudicate"),
    path("p/<uuid:project>/adjudication/<uuid:instance>/take/", adjudication.take, name="adjudication-take"),
    path("p/<uuid:project>/adjudication/<uuid:instance>/answer/", adjudication.answer, name="adjudication-answer"),
    path("p/<uuid:project>/adjudication/<uuid:instance>/undo/", adjudication.undo, name="adjudication-undo"),
    path("p/<uuid:project>/imports/new/", imports.import_new, name="import-new"),
    path("p/<uuid:project>/imports/<uuid:batch>/", imports.import_page, name="import"),
    path("p/<uuid:project>/imports/<uuid:batch>/run/", imports.import_run, name="import-run"),
    # routing and judge
    path("p/<uuid:project>/routing/", routing.routing, name="routing"),
    path("p/<uuid:project>/routing/pilot/", routing.pilot_start, name="pilot-start"),
    path("p/<uuid:project>/routing/new/", routing.plan_create, name="plan-create"),
    path("p/<uuid:project>/routing/<uuid:plan>/", routing.plan, name="plan"),
    path("p/<uuid:project>/routing/<uuid:plan>/apply/", routing.plan_apply, name="plan-apply"),
    path("p/<uuid:project>/routing/<uuid:plan>/again/", routing.plan_again, name="plan-again"),
    path("p/<uuid:project>/routing/<uuid:plan>/preview/", routing.plan_preview, name="plan-preview"),
    path("p/<uuid:project>/judge/", judge.judge, name="judge"),
    path("p/<uuid:project>/judge/new/", judge.judge_create, name="judge-create"),
    path("p/<uuid:project>/judge/<uuid:judge>/", judge.judge_edit, name="judge-edit"),
    path("p/<uuid:project>/judge/<uuid:judge>/run/", judge.judge_run, name="judge-run"),
    path("p/<uuid:project>/judge/<uuid:judge>/retire/", judge.judge_retire, name="judge-retire"),
    # datasets
    path("p/<uuid:project>/datasets/", datasets.dataset_list, name="datasets"),
    path("p/<uuid:project>/datasets/new/", datasets.dataset_create, name="dataset-create"),
    path("p/<uuid:project>/datasets/<uuid:version>/", datasets.dataset, name="dataset"),
    path("p/<uuid:project>/datasets/<uuid:version>/files/<path:path>", datasets.dataset_file, name="dataset-file"),
    # training and models
    path("p/<uuid:project>/training/", training.training, name="training"),
    path("p/<uuid:project>/training/new/", training.run_create, name="run-create"),
    path("p/<uuid:project>/training/<uuid:run>/", training.run, name="run"),
    path("p/<uuid:project>/training/<uuid:run>/metrics/", training.run_metrics, name="run-metrics"),
    path("p/<uuid:project>/training/<uuid:run>/log/", training.run_log, name="run-log"),
    path("p/<uuid:project>/training/<uuid:run>/cancel/", training.run_cancel, name="run-cancel"),
    path("p/<uuid:project>/training/<uuid:run>/resume/", training.run_resume, name="run-resume"),
    path("p/<uuid:project>/models/", models.models, name="models"),
    path("p/<uuid:project>/models/<uuid:model>/", models.model, name="model"),
    path("p/<uuid:project>/models/<uuid:model>/files/<path:path>", models.model_file, name="model-file"),
    # jobs
    path("p/<uuid:project>/jobs/<uuid:job>/", jobs.job_part, name="job-part"),
    path("p/<uuid:project>/jobs/<uuid:job>/cancel/", jobs.job_cancel, name="job-cancel"),
    # REST
    path("api/v1/", include("annotate.api.urls")),
]
