# `gradeclass serve`, unless another command is given; the pages and the tools: docker build --build-arg EXTRAS=pages,tracking,prefect .
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN pip install 'uv>=0.9,<1' && uv venv /opt/venv
WORKDIR /src
COPY requirements.lock requirements-prefect.lock setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY gradeclass gradeclass
COPY nbs nbs
COPY data/sample data/sample
# The extras that are wanted, at the locked versions: the service needs a third of what the notebooks need.
ARG EXTRAS=serve
RUN uv pip install --no-cache --python /opt/venv/bin/python --constraint requirements.lock --constraint requirements-prefect.lock ".[$EXTRAS]"
# The same XGBoost without its code for GPUs, which is 220 MB; laid over it, so that what asks for its version finds it.
RUN uv pip install --no-cache --no-deps --python /opt/venv/bin/python \
    "xgboost-cpu==$(/opt/venv/bin/python -c 'import importlib.metadata as m; print(m.version("xgboost"))')"

FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install --no-install-recommends -y libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 gradeclass && install -d -o gradeclass -g gradeclass /data
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 DO_NOT_TRACK=1 GRADECLASS_HOME=/data GRADECLASS_OUTPUTS=/data/outputs
USER gradeclass
WORKDIR /data
VOLUME /data
EXPOSE 9696
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9696/health', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["gradeclass"]
CMD ["serve", "--host", "0.0.0.0", "--make-key"]
