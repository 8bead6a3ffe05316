"""Members of a project: who is in, inviting, roles."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Membership, Role
from feedback.services import people

from ..invitations import invite
from .fields import language_list, public_id, skill_list
from .permissions import Need
from .views import ProjectView


class MemberSerializer(serializers.ModelSerializer[Membership]):
    id = public_id("user.public_id")
    name = serializers.CharField(source="user.name", read_only=True)
    email = serializers.EmailField(source="user.email", read_only=True)
    role = serializers.ChoiceField(Role.choices)
    languages = serializers.ListField(child=serializers.CharField(), read_only=True)
    skills = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Membership
        fields = ("id", "name", "email", "role", "languages", "skills", "created_at")
        read_only_fields = ("created_at",)


class RoleBody(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Role.choices)


class AbilitiesBody(serializers.Serializer[Any]):
    """``languages`` are BCP 47 tags; ``de`` covers ``de-at``, and none at all means every language."""

    languages = language_list()
    skills = skill_list()


class InvitationBody(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(Role.choices)


class InvitationSerializer(serializers.Serializer[Any]):
    """``url`` works once and for seven days; it is shown this one time."""

    email = serializers.EmailField()
    role = serializers.ChoiceField(Role.choices)
    url = serializers.URLField()


@extend_schema_view(get=extend_schema(operation_id="members_list"))
class Members(ProjectView):
    serializer_class = MemberSerializer
    queryset = Membership.objects.select_related("user")
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("write", "manage")}

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()

    @extend_schema(operation_id="members_invite", request=InvitationBody, responses={201: InvitationSerializer})
    def post(self, request: Request, project: Any) -> Response:
        """Invite a person by e-mail address. Only owners invite owners."""
        body = self.checked(request, InvitationBody)
        url = invite(request._request, self.project, body["email"], body["role"], actor=self.user)
        return Response(body | {"url": url}, status=201)


class OneMember(ProjectView):
    serializer_class = MemberSerializer
    queryset = Membership.objects.select_related("user", "project")

    def row(self, member: UUID) -> Membership:
        found: Membership = get_object_or_404(self.get_queryset(), user__public_id=member)
        return found


@extend_schema_view(get=extend_schema(operation_id="members_retrieve"))
class MemberDetail(OneMember):
    needs: ClassVar = {"GET": Need("read", "view"), "PATCH": Need("write", "own"), "DELETE": Need("write", "own")}

    def get(self, request: Request, project: Any, member: UUID) -> Response:
        return self.shown(self.row(member))

    @extend_schema(operation_id="members_update", request=RoleBody)
    def patch(self, request: Request, project: Any, member: UUID) -> Response:
        people.set_role(self.row(member), self.checked(request, RoleBody)["role"], actor=self.user)
        return self.shown(self.row(member))

    @extend_schema(operation_id="members_remove", responses={204: None})
    def delete(self, request: Request, project: Any, member: UUID) -> Response:
        people.remove_member(self.row(member), actor=self.user)
        return Response(status=204)


class MemberAbilities(OneMember):
    needs: ClassVar = {"PATCH": Need("write", "manage")}

    @extend_schema(operation_id="members_set_abilities", request=AbilitiesBody)
    def patch(self, request: Request, project: Any, member: UUID) -> Response:
        """Say which languages a member reads or which skills they have; what is not sent stays as it is."""
        people.set_abilities(self.row(member), **self.checked(request, AbilitiesBody), actor=self.user)
        return self.shown(self.row(member))
