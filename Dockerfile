FROM python:3.11-slim
ARG EXTRAS=""
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 VAR_DIR=/var/lib/tiebreak
WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
RUN pip install -c constraints.txt ".${EXTRAS}"
COPY . .
RUN useradd --system --home /var/lib/tiebreak tiebreak && install -d -o tiebreak /var/lib/tiebreak
USER tiebreak
RUN SECRET_KEY=only-for-collecting-static-files-0123456789 python manage.py collectstatic --noinput
EXPOSE 8000
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--workers", "2", "annotate.wsgi:application"]
