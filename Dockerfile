# syntax=docker/dockerfile:1
#
# The image of the operator, and of the commands. Each stage does one thing; nothing that only builds gets into the last.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 --tag vela-workflow:0.1.0 .

ARG PYTHON_VERSION=3.13
ARG GO_VERSION=1.26
ARG DEBIAN=bookworm

# The cue and helm commands, built from the Go module proxy in pinned versions, for the platform of the image.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:${GO_VERSION}-${DEBIAN} AS tools
ARG TARGETOS
ARG TARGETARCH
ARG CUE_VERSION=v0.17.1
ARG HELM_VERSION=v3.22.0
ENV CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} GOFLAGS=-trimpath
WORKDIR /build
# `go install` puts programs for another platform into a folder of its own, hence the find.
RUN go install -ldflags="-s -w" cuelang.org/go/cmd/cue@${CUE_VERSION} \
    && go install -ldflags="-s -w -X helm.sh/helm/v3/internal/version.version=${HELM_VERSION}" \
        helm.sh/helm/v3/cmd/helm@${HELM_VERSION} \
    && mkdir /out \
    && find /go/bin -type f \( -name cue -o -name helm \) -exec cp {} /out/ \;

# The wheel of this checkout.
FROM docker.io/library/python:${PYTHON_VERSION}-slim-${DEBIAN} AS wheel
WORKDIR /source
RUN pip install --no-cache-dir "hatchling>=1.27" build
COPY pyproject.toml README.md LICENSE ./
COPY crds crds
COPY definitions definitions
COPY vela_workflow vela_workflow
RUN python -m build --wheel --no-isolation --outdir /wheels .

# An environment with what the operator needs and nothing else, with the pinned versions of everything.
FROM docker.io/library/python:${PYTHON_VERSION}-slim-${DEBIAN} AS environment
COPY requirements.txt ./
RUN python -m venv --without-pip /opt/vela-workflow \
    && pip --python /opt/vela-workflow/bin/python install --no-cache-dir --require-hashes -r requirements.txt
COPY --from=wheel /wheels /wheels
RUN pip --python /opt/vela-workflow/bin/python install --no-cache-dir --no-deps /wheels/*.whl \
    && /opt/vela-workflow/bin/python -m compileall -q /opt/vela-workflow/lib

FROM docker.io/library/python:${PYTHON_VERSION}-slim-${DEBIAN}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="vela-workflow" \
      org.opencontainers.image.description="A Kubernetes operator that runs KubeVela workflows" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=tools /out/cue /out/helm /usr/local/bin/
COPY --from=environment /opt/vela-workflow /opt/vela-workflow
# Nothing is written but below /tmp, so the root file system may be read-only.
ENV PATH=/opt/vela-workflow/bin:$PATH \
    HOME=/tmp \
    TMPDIR=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080 9443
ENTRYPOINT ["vela-workflow"]
CMD ["operator"]
