# What apps of the buildpack stack are built in: the run image, tools that only builds need, the phases, our buildpacks.
ARG RUN_IMAGE
FROM ${RUN_IMAGE}
USER 0
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends git python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY cnb /cnb
RUN python3 -m compileall -q /cnb
ENV CNB_PLATFORM_API=0.12
USER 1001:1001
