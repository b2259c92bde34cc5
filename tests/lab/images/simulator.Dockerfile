# The lab's servers run with the agent image's interpreter and libraries: one set of layers on every node.
ARG AGENT_IMAGE
FROM ${AGENT_IMAGE}
COPY lab /app/lab
ENTRYPOINT ["/opt/venv/bin/python", "-m"]
CMD ["lab.gemini"]
