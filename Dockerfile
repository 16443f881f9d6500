# The product in a container: the service, and every other command. docs/containers.md says how it is used and how it was tried.
#
# The tag follows security updates of Debian and of Python 3.11. For a base that never moves, name the digest of the day:
#   docker build --build-arg BASE=python:3.11-slim-bookworm@sha256:... .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Options for pip when it gets torch. The index of CPU builds comes beside the usual one: pip prefers 2.13.0+cpu to
# 2.13.0, which is a CUDA build of several gigabytes. Empty for a GPU image: --build-arg TORCH_ARGS=
ARG TORCH_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY constraints.txt ./
RUN python -m venv /opt/attendance \
    && /opt/attendance/bin/pip install -c constraints.txt pip setuptools
# torch first and alone, in a layer of its own: it changes least and weighs most.
RUN /opt/attendance/bin/pip install -c constraints.txt torch ${TORCH_ARGS}
COPY requirements/product.lock requirements/
# Nothing is installed later, so what installs goes too, and so do 110 MB of models that nothing here reads.
RUN /opt/attendance/bin/pip install --no-deps --no-build-isolation -r requirements/product.lock \
    && rm -f /opt/attendance/lib/python3.11/site-packages/face_recognition_models/models/shape_predictor_*.dat \
    && /opt/attendance/bin/pip uninstall --yes setuptools pip

FROM ${BASE}
LABEL org.opencontainers.image.title="face-attendance" \
      org.opencontainers.image.description="Face attendance that an organisation runs by itself" \
      org.opencontainers.image.licenses="MIT"
# A number, so that an orchestrator can see that it is not root, and volumes keep their owner from image to image.
RUN groupadd --gid 10001 attendance \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin attendance \
    && install -d -o 10001 -g 10001 -m 0700 /data /data/store
COPY --from=build /opt/attendance /opt/attendance
# All that is written goes below /data: the root may be read-only. numba keeps there what it compiled.
ENV PATH=/opt/attendance/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/data/cache/numba \
    MPLCONFIGDIR=/data/cache/matplotlib \
    ANONYMIZED_TELEMETRY=False \
    ORT_DISABLE_TELEMETRY=1 \
    ATTENDANCE_STORE__PATH=/data/store
WORKDIR /app
COPY build_database.py realtime_attendance.py ./
COPY configs configs
COPY tools/__init__.py tools/mongodb_roles.py tools/
COPY demo demo
COPY attendance attendance
RUN python -m compileall -q /app
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "attendance"]
# Outside loopback the service starts only with a token: ATTENDANCE_SERVICE__TOKEN or ATTENDANCE_SERVICE__TOKEN_FILE.
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
