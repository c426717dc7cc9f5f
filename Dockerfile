# The service of one model, on CPUs: docs/service.md, "In a container". No model, data or run is in the image; a folder that
# `--stage export` wrote is mounted at /srv/emerge/model.
FROM python:3.11-slim-bookworm AS build
# where PyTorch comes from; empty for the default index, whose build for Linux brings CUDA
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); \
    print(*p['tool']['uv']['constraint-dependencies'], sep='\n', file=open('constraints.txt', 'w')); \
    print(*(d for d in p['project']['dependencies'] if d.startswith('torch==')), file=open('torch.txt', 'w'))"
RUN python -m venv /opt/emerge \
    && /opt/emerge/bin/pip install --no-cache-dir --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --requirement torch.txt \
    && /opt/emerge/bin/pip install --no-cache-dir --constraint constraints.txt '.[serve,fhir]'

FROM python:3.11-slim-bookworm
# LightGBM needs OpenMP's library, which the slim image has not
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin emerge
COPY --from=build /opt/emerge /opt/emerge
ENV PATH=/opt/emerge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
WORKDIR /srv/emerge
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
CMD ["emerge-ehr", "--stage", "serve", "--offline", "--run", "model", "--host", "0.0.0.0", "--port", "8000"]
