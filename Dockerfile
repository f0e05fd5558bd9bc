# The broker and the `tenure` command in one image: about the interpreter's size plus 40 MB.
#
#   docker build -t tenure .
#   docker run --rm -p 127.0.0.1:7733:7733 -v tenure-data:/data tenure
#
# `make image-check` does what the RUN lines below do in a plain directory, and starts the result.

ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY protocol/tenure_protocol protocol/tenure_protocol
COPY storage/tenure_storage storage/tenure_storage
COPY server/tenure_server server/tenure_server
COPY client/tenure client/tenure
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/tenure
RUN /opt/tenure/bin/python -m pip install --no-cache-dir "$(echo /wheels/tenure-*.whl)[all]"
# The root file system is read-only when it runs: compile now, and leave no installer behind.
RUN /opt/tenure/bin/python -m pip uninstall --quiet --yes pip
RUN /opt/tenure/bin/python -m compileall -q /opt/tenure/lib

FROM python:${PYTHON_VERSION}-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tenure" \
      org.opencontainers.image.description="A durable task-queue broker in one process" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 tenure \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tenure \
 && install -d -o 10001 -g 10001 -m 0750 /data
COPY --from=build /opt/tenure /opt/tenure
ENV PATH=/opt/tenure/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 7733 7780
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["tenure", "ping", "--timeout", "4s"]
# Exec form: the broker is process 1 and gets the signals itself.
ENTRYPOINT ["tenure"]
CMD ["server", "--listen", "0.0.0.0:7733", "--http", "0.0.0.0:7780", "--data-dir", "/data"]
