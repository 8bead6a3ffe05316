"""Tokens of the person who asks. A token never makes another one: that needs the person, in the browser."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.exceptions import Forbidden
from feedback.models import ApiToken
from feedback.services import people

from .fields import TextField, public_id
from .permissions import Need
from .views import View


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    id = public_id()
    scopes = serializers.ListField(child=serializers.ChoiceField(ApiToken.SCOPES), read_only=True)

    class Meta:
        model = ApiToken
        fields = ("id", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
        read_only_fields = fields


class TokenBody(serializers.Serializer[Any]):
    name = TextField(max_length=80)
    scopes = serializers.ListField(child=serializers.ChoiceField(ApiToken.SCOPES), allow_empty=False, max_length=4)
    days = serializers.IntegerField(min_value=1, max_value=365, default=90)


class NewToken(TokenSerializer):
    """``secret`` is shown this one time."""

    secret = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "secret")  # type: ignore[assignment]


class Own(View):
    serializer_class = TokenSerializer
    queryset = ApiToken.objects.all()

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        return rows.none() if getattr(self, "swagger_fake_view", False) else rows.filter(user=self.user)


@extend_schema_view(get=extend_schema(operation_id="tokens_list"))
class Tokens(Own):
    needs: ClassVar = {"GET": Need("read"), "POST": Need("write")}

    def get(self, request: Request) -> Response:
        return self.listed()

    @extend_schema(operation_id="tokens_create", request=TokenBody, responses={201: NewToken})
    def post(self, request: Request) -> Response:
        """Make a token. Only with a browser session: a leaked token must not outlive itself."""
        if isinstance(request.auth, ApiToken):
            raise Forbidden("Tokens are made on your account page, or with a browser session.")
        token, secret = people.make_token(self.user, **self.checked(request, TokenBody))
        return Response(TokenSerializer(token).data | {"secret": secret}, status=201)


@extend_schema_view(get=extend_schema(operation_id="tokens_retrieve"))
class TokenDetail(Own):
    needs: ClassVar = {"GET": Need("read"), "DELETE": Need("write")}

    def get(self, request: Request, token: UUID) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=token))

    @extend_schema(operation_id="tokens_revoke", responses={204: None})
    def delete(self, request: Request, token: UUID) -> Response:
        people.revoke_token(get_object_or_404(self.get_queryset(), public_id=token), actor=self.user)
        return Response(status=204)
