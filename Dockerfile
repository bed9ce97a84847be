# The nightly run in a container: Meltano with the tap, target-postgres and dbt, at the versions and
# hashes of requirements/. Its settings come from the environment: see docs/deploy.md.
FROM python:3.13-slim-trixie

# Meltano installs the plugins by the uv of its own lock.
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1

RUN useradd --create-home --uid 10001 loader && install --directory --owner=10001 /project
WORKDIR /project
# By number, so that Kubernetes can tell that it is not root.
USER 10001

COPY --chown=10001 requirements/meltano.txt requirements/
RUN python -m venv .venv-meltano \
    && .venv-meltano/bin/pip install --no-deps --require-hashes --requirement requirements/meltano.txt

COPY --chown=10001 . .
RUN .venv-meltano/bin/meltano --no-environment install \
    tap-barchart-events target-postgres dbt-postgres

# It ends at SIGTERM within two and a half minutes, with STATE kept: docker stop -t 150.
ENTRYPOINT ["/project/.venv-meltano/bin/python", "-m", "orchestrate.nightly"]
CMD ["target-postgres", "dbt-postgres"]
