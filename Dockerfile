# radapt in a container. Folders are mounted, nothing is in the image but the program:
#   docker build -t radapt .                                  # with CUDA
#   docker build -t radapt --build-arg TORCH=cpu --build-arg PIP_EXTRA_INDEX_URL=ADDRESS .   # CPU only, under 2 GB
#   docker run --rm --gpus all -v /data:/data:ro -v "$PWD":/study radapt run study.yaml --out runs/one
# ADDRESS is that of PyTorch's builds for CPUs, which pytorch.org names under "Get started".
FROM python:3.12-slim

ARG TORCH=default
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/radapt
COPY constraints.txt pyproject.toml README.md LICENSE Makefile ./
COPY src ./src
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/* \
    && make setup TORCH=$TORCH EXTRAS=dicom,dicom-out,dicomweb,tiff,matlab

# Weights and slices are cached in the mounted folder, not in the container.
ENV PATH=/opt/radapt/.venv/bin:$PATH HF_HOME=/study/.cache/huggingface XDG_CACHE_HOME=/study/.cache XDG_CONFIG_HOME=/study/.config
WORKDIR /study
ENTRYPOINT ["radapt"]
CMD ["--help"]
