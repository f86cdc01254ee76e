# Two images from one file: `serving` installs what answering requests needs, `worker` (the default) every role.
ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/build.txt requirements/
RUN pip install --require-hashes --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY penstock penstock
COPY producers producers
COPY consumers consumers
COPY online online
COPY retraining retraining
COPY serving serving
COPY pipelines pipelines
RUN python -m hatchling build --target wheel --directory /wheel

FROM builder AS serving-packages
COPY requirements/serving.txt requirements/
RUN python -m venv /venv \
 && /venv/bin/pip install --require-hashes --requirement requirements/serving.txt \
 && /venv/bin/pip install --no-deps --no-index /wheel/*.whl

FROM builder AS worker-packages
COPY requirements/worker.txt requirements/
RUN python -m venv /venv \
 && /venv/bin/pip install --require-hashes --requirement requirements/worker.txt \
 && /venv/bin/pip install --no-deps --no-index /wheel/*.whl

FROM ${PYTHON_IMAGE} AS runtime
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PENSTOCK_DATA_DIR=/data
RUN useradd --system --uid 10001 --create-home penstock \
 && install --directory --owner penstock --group penstock --mode 0700 /data
WORKDIR /app
COPY pipelines pipelines
VOLUME /data
USER 10001
ENTRYPOINT ["penstock"]

FROM runtime AS serving
COPY --from=serving-packages /venv /venv
ENV PENSTOCK_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=2s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["run", "serving"]

FROM runtime AS worker
COPY --from=worker-packages /venv /venv
