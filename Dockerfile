# One service per image:  docker build --build-arg SERVICE=checkin --tag fanzha/checkin:0.2.0 .
# With SERVICE= (empty) it is the operator's: the command line, which needs the migrations of all.
# Read by BuildKit and by the classic builder: no RUN --mount, no here-documents, no COPY --chmod.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ---- the locked dependencies, each checked against its hash in uv.lock -----------------------------------------------
FROM ${PYTHON_IMAGE} AS dependencies
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY deploy/docker/uv.txt ./
RUN python3 -m venv uv && uv/bin/pip install --quiet --require-hashes --only-binary :all: -r uv.txt
COPY pyproject.toml uv.lock deploy/docker/certificate-only.txt deploy/docker/reporting-only.txt ./
RUN export="uv/bin/uv export --quiet --frozen --no-dev --no-emit-project" \
 && without() { cat "$@" | sed 's/^/--no-emit-package /'; } \
 && $export --output-file common.txt $(without certificate-only.txt reporting-only.txt) > /dev/null \
 && $export --output-file certificate.txt $(without reporting-only.txt) > /dev/null \
 && $export --output-file reporting.txt $(without certificate-only.txt) > /dev/null
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --quiet --no-deps --require-hashes --only-binary :all: -r common.txt
# Typesetting with its fonts, and what reads pictures, are half of all bytes and one service's business each.
ARG SERVICE
RUN if [ -f "$SERVICE.txt" ]; then \
      /opt/venv/bin/pip install --quiet --no-deps --require-hashes --only-binary :all: -r "$SERVICE.txt"; fi \
 && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools

# ---- the image: this service, shared/, and the command line ----------------------------------------------------------
FROM ${PYTHON_IMAGE}
# Fixed, so that the owner of mounted secrets and volumes can be named in advance (upkeep/secret_files.py).
RUN groupadd --gid 10001 fanzha \
 && useradd --uid 10001 --gid fanzha --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin fanzha \
 && install --directory --owner=fanzha --group=fanzha --mode=0700 /var/lib/fanzha/certificates /var/lib/fanzha/messages
COPY --from=dependencies /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
WORKDIR /app
COPY deploy/docker/fanzha /usr/local/bin/fanzha
COPY cli cli
COPY upkeep upkeep
COPY devstack devstack
COPY shared shared
COPY services/__init__.py services/__init__.py
ARG SERVICE
COPY services/${SERVICE} services/${SERVICE}
RUN python -m compileall -q /app
ENV SERVICE=${SERVICE}
USER 10001:10001
CMD if [ "$SERVICE" ]; then exec python -m "services.$SERVICE"; else exec fanzha --help; fi
