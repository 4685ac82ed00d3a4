# A builder image of somebody else: other programs, another user, and a run image that its label names.
ARG BASE
FROM ${BASE}
ARG RUN_IMAGE
COPY cnb /cnb
ENV CNB_USER_ID=1234 CNB_GROUP_ID=2345
LABEL io.buildpacks.builder.metadata="{\"stack\":{\"runImage\":{\"image\":\"${RUN_IMAGE}\"}},\"lifecycle\":{\"apis\":{\"platform\":{\"supported\":[\"0.11\",\"0.12\"]}}}}"
USER 1234:2345
