# The search in a container. CPU only, with CUDA, and for Kubernetes:
#     docker build --tag inat-search .
#     docker build --tag inat-search:cuda --build-arg TORCH=cu132 .
#     docker build --tag inat-search:kubernetes --build-arg TORCH=cu132 --build-arg RAY=ray[default] .
# Any user, a read-only root file system, and no home folder (docs/clusters/containers.md):
#     mkdir -p results cache
#     docker run --rm --user "$(id -u):$(id -g)" --read-only --tmpfs /tmp --shm-size 1g \
#         --volume "$PWD/results:/work/results" --volume "$PWD/cache:/cache" inat-search tune-scratch --data digits
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
# cpu, or a version of CUDA such as cu132: PyTorch's index that uv takes torch from, in the version of the lock.
ARG TORCH=cpu
# ray[default] adds the dashboard's job API, which KubeRay needs.
ARG RAY=ray
ARG UV_VERSION=0.13.9
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy VIRTUAL_ENV=/opt/inat
RUN python -m venv --without-pip "$VIRTUAL_ENV" && pip install --no-cache-dir "uv==$UV_VERSION"
WORKDIR /src
# The libraries first, without the development tools: this layer is made again only when a lock changes.
COPY pyproject.toml requirements.lock ./
COPY clusters/requirements-kubernetes.txt clusters/
RUN uv pip install --torch-backend "$TORCH" --constraint requirements.lock \
        --constraint clusters/requirements-kubernetes.txt --requirements pyproject.toml "$RAY" setuptools
COPY README.md LICENSE MANIFEST.in CHANGELOG.md ./
COPY inat inat
COPY analysis analysis
RUN uv pip install --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim-bookworm
COPY --from=build /opt/inat /opt/inat
# Nothing is written to HOME: decoded images, weights and Matplotlib's fonts go to /cache, results to /work/results.
RUN mkdir -p /home/inat /cache /work/results && ln -s /cache /home/inat/.cache && chmod 1777 /cache /work /work/results
ENV PATH=/opt/inat/bin:$PATH HOME=/home/inat MPLCONFIGDIR=/cache/matplotlib PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
WORKDIR /work
VOLUME ["/work/results", "/cache"]
USER 65532:65532
ENTRYPOINT ["inat"]
CMD ["--help"]
