"""The API's table of contents, one section per noun."""

from __future__ import annotations

from django.urls import path

from . import (
    assignments,
    comments,
    datasets,
    definitions,
    imports,
    instances,
    jobs,
    judges,
    media,
    members,
    plans,
    projects,
    reviewing,
    tasks,
    tokens,
    training,
)
from .annotations import AnnotationDetail, Annotations, AnnotationUndo
from .schema import SchemaView

PROJECT = "projects/<uuid:project>/"

urlpatterns = [
    path("schema/", SchemaView.as_view(), name="api-schema"),
    # tokens and projects
    path("tokens/", tokens.Tokens.as_view(), name="api-tokens"),
    path("tokens/<uuid:token>/", tokens.TokenDetail.as_view(), name="api-token"),
    path("projects/", projects.Projects.as_view(), name="api-projects"),
    path(PROJECT, projects.ProjectDetail.as_view(), name="api-project"),
    path(f"{PROJECT}members/", members.Members.as_view(), name="api-members"),
    path(f"{PROJECT}members/<uuid:member>/abilities/", members.MemberAbilities.as_view(), name="api-member-abilities"),
    path(f"{PROJECT}members/<uuid:member>/", members.MemberDetail.as_view(), name="api-member"),
    # tasks
    path(f"{PROJECT}tasks/", tasks.Tasks.as_view(), name="api-tasks"),
    path(f"{PROJECT}tasks/<uuid:task>/", tasks.TaskDetail.as_view(), name="api-task"),
    path("task-definition/", definitions.DefinitionSchema.as_view(), name="api-definition-schema"),
    path(f"{PROJECT}tasks/import/", definitions.TaskImport.as_view(), name="api-task-import"),
    path(f"{PROJECT}tasks/<uuid:task>/definition/", definitions.TaskDefinition.as_view(), name="api-task-definition"),
    path(f"{PROJECT}tasks/<uuid:task>/questions/", definitions.QuestionVersions.as_view(), name="api-questions"),
    path(f"{PROJECT}tasks/<uuid:task>/questions/check/", definitions.QuestionsCheck.as_view(), name="api-check"),
    path(f"{PROJECT}tasks/<uuid:task>/open/", tasks.TaskOpen.as_view(), name="api-task-open"),
    path(f"{PROJECT}tasks/<uuid:task>/close/", tasks.TaskClose.as_view(), name="api-task-close"),
    path(f"{PROJECT}tasks/<uuid:task>/guidelines/", tasks.Guidelines.as_view(), name="api-guidelines"),
    path(f"{PROJECT}tasks/<uuid:task>/budget/", tasks.TaskBudget.as_view(), name="api-budget"),
    path(f"{PROJECT}tasks/<uuid:task>/media/", media.MediaFiles.as_view(), name="api-media"),
    path(f"{PROJECT}tasks/<uuid:task>/media/<uuid:media>/", media.MediaDetail.as_view(), name="api-media-detail"),
    path(f"{PROJECT}tasks/<uuid:task>/media/<uuid:media>/file/", media.MediaContent.as_view(), name="api-media-file"),
    # labelling
    path("queue/", assignments.Queue.as_view(), name="api-queue"),
    path(f"{PROJECT}assignments/", assignments.Assignments.as_view(), name="api-assignments"),
    path(f"{PROJECT}assignments/next/", assignments.NextAssignment.as_view(), name="api-assignment-next"),
    path(f"{PROJECT}assignments/<uuid:assignment>/", assignments.AssignmentDetail.as_view(), name="api-assignment"),
    path(f"{PROJECT}assignments/<uuid:assignment>/draft/", assignments.AssignmentDraft.as_view(), name="api-draft"),
    path(f"{PROJECT}assignments/<uuid:assignment>/submit/", assignments.AssignmentSubmit.as_view(), name="api-submit"),
    path(f"{PROJECT}assignments/<uuid:assignment>/skip/", assignments.AssignmentSkip.as_view(), name="api-skip"),
    path(f"{PROJECT}assignments/<uuid:assignment>/flag/", assignments.AssignmentFlag.as_view(), name="api-flag"),
    path(f"{PROJECT}assignments/<uuid:assignment>/requeue/", reviewing.AssignmentRequeue.as_view(), name="api-requeue"),
    path(f"{PROJECT}annotations/", Annotations.as_view(), name="api-annotations"),
    path(f"{PROJECT}annotations/<uuid:annotation>/", AnnotationDetail.as_view(), name="api-annotation"),
    path(f"{PROJECT}annotations/<uuid:annotation>/undo/", AnnotationUndo.as_view(), name="api-undo"),
    # instances and imports
    path(f"{PROJECT}instances/", instances.Instances.as_view(), name="api-instances"),
    path(f"{PROJECT}instances/change/", instances.InstancesChange.as_view(), name="api-instances-change"),
    path(f"{PROJECT}instances/<uuid:instance>/", instances.InstanceDetail.as_view(), name="api-instance"),
    path(f"{PROJECT}instances/<uuid:instance>/comments/", comments.Comments.as_view(), name="api-comments"),
    path(f"{PROJECT}instances/<uuid:instance>/assignments/", reviewing.Loans.as_view(), name="api-loans"),
    path(f"{PROJECT}comments/<uuid:comment>/", comments.CommentDetail.as_view(), name="api-comment"),
    path(f"{PROJECT}comments/<uuid:comment>/resolve/", comments.CommentResolve.as_view(), name="api-comment-resolve"),
    path(f"{PROJECT}comments/<uuid:comment>/reopen/", comments.CommentReopen.as_view(), name="api-comment-reopen"),
    path(f"{PROJECT}adjudications/", reviewing.Adjudications.as_view(), name="api-adjudications"),
    path(
        f"{PROJECT}adjudications/<uuid:adjudication>/undo/",
        reviewing.AdjudicationUndo.as_view(),
        name="api-adjudication-undo",
    ),
    path(f"{PROJECT}flags/<uuid:assignment>/decide/", reviewing.FlagDecide.as_view(), name="api-flag-decide"),
    path(f"{PROJECT}imports/", imports.ImportBatches.as_view(), name="api-imports"),
    path(f"{PROJECT}imports/<uuid:batch>/", imports.ImportDetail.as_view(), name="api-import"),
    path(f"{PROJECT}imports/<uuid:batch>/check/", imports.ImportCheck.as_view(), name="api-import-check"),
    path(f"{PROJECT}imports/<uuid:batch>/run/", imports.ImportRun.as_view(), name="api-import-run"),
    # routing and judge
    path(f"{PROJECT}judges/", judges.Judges.as_view(), name="api-judges"),
    path(f"{PROJECT}judges/<uuid:judge>/", judges.JudgeDetail.as_view(), name="api-judge"),
    path(f"{PROJECT}judges/<uuid:judge>/run/", judges.JudgeRun.as_view(), name="api-judge-run"),
    path(f"{PROJECT}judges/<uuid:judge>/calls/", judges.JudgeCalls.as_view(), name="api-judge-calls"),
    path(f"{PROJECT}pilots/", plans.Pilots.as_view(), name="api-pilots"),
    path(f"{PROJECT}plans/", plans.Plans.as_view(), name="api-plans"),
    path(f"{PROJECT}plans/<uuid:plan>/", plans.PlanDetail.as_view(), name="api-plan"),
    path(f"{PROJECT}plans/<uuid:plan>/decisions/", plans.PlanDecisions.as_view(), name="api-decisions"),
    path(f"{PROJECT}plans/<uuid:plan>/apply/", plans.PlanApply.as_view(), name="api-plan-apply"),
    # datasets
    path(f"{PROJECT}datasets/", datasets.Datasets.as_view(), name="api-datasets"),
    path(f"{PROJECT}datasets/<uuid:version>/", datasets.DatasetDetail.as_view(), name="api-dataset"),
    path(f"{PROJECT}datasets/<uuid:version>/verify/", datasets.DatasetVerify.as_view(), name="api-dataset-verify"),
    path(
        f"{PROJECT}datasets/<uuid:version>/files/<path:path>", datasets.DatasetFile.as_view(), name="api-dataset-file"
    ),
    # training and models
    path(f"{PROJECT}objectives/", training.Objectives.as_view(), name="api-objectives"),
    path(f"{PROJECT}base-models/", training.BaseModels.as_view(), name="api-base-models"),
    path(f"{PROJECT}runs/", training.Runs.as_view(), name="api-runs"),
    path(f"{PROJECT}runs/<uuid:run>/", training.RunDetail.as_view(), name="api-run"),
    path(f"{PROJECT}runs/<uuid:run>/cancel/", training.RunCancel.as_view(), name="api-run-cancel"),
    path(f"{PROJECT}runs/<uuid:run>/resume/", training.RunResume.as_view(), name="api-run-resume"),
    path(f"{PROJECT}runs/<uuid:run>/metrics/", training.RunMetrics.as_view(), name="api-run-metrics"),
    path(f"{PROJECT}runs/<uuid:run>/curves/", training.RunCurves.as_view(), name="api-run-curves"),
    path(f"{PROJECT}models/", training.Models.as_view(), name="api-models"),
    path(f"{PROJECT}models/<uuid:model>/", training.ModelDetail.as_view(), name="api-model"),
    path(f"{PROJECT}models/<uuid:model>/files/<path:path>", training.ModelFile.as_view(), name="api-model-file"),
    # jobs
    path(f"{PROJECT}jobs/", jobs.Jobs.as_view(), name="api-jobs"),
    path(f"{PROJECT}jobs/<uuid:job>/", jobs.JobDetail.as_view(), name="api-job"),
    path(f"{PROJECT}jobs/<uuid:job>/cancel/", jobs.JobCancel.as_view(), name="api-job-cancel"),
]
