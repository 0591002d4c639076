# The worker with its commands, on Debian's own Python. It needs no writable root file system and no
# rights; it holds no compiler, no pip and no health check, for probes are the platform's.
#
#   docker build --tag withdrawals-worker .
#   docker run --read-only --tmpfs /tmp --volume ledger:/var/lib/withdrawals --env-file worker.env \
#     withdrawals-worker
#
# Behind a proxy that ends TLS, or with a package index of your own, hand over what pip has to know;
# nothing of it stays in the image (in pip.conf: cert = /run/secrets/ca.pem):
#
#   docker build --secret id=pip.conf,src=pip.conf --secret id=ca.pem,src=ca.pem .

# By digest, where each build has to begin with the same: --build-arg BASE=debian@sha256:...
ARG BASE=debian:trixie-slim


# What both the build and the image stand on.
FROM ${BASE} AS python

# Nothing in the image needs to become somebody else, so no program may (chmod). What remains of the
# installation are its logs and lists, which differ every time.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      ca-certificates python3 \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
      /var/lib/dpkg/*-old /var/log/* /tmp/*


# All that is needed to install, and the locked dependencies in an environment that has no pip.
FROM python AS dependencies

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      binutils python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /opt/build \
 && python3 -m venv --without-pip /opt/venv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore \
    SOURCE_DATE_EPOCH=315532800

COPY requirements.lock requirements-build.lock /build/
# What no worker needs goes: other projects' tests, and 30 MB of symbols for debuggers. Bytecode is made
# here, since it cannot be written later; unchecked, since no source will change. The files' times are
# those of 1980, so that the same packages make the same layer.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    /opt/build/bin/pip install --require-hashes --no-compile \
      --requirement /build/requirements-build.lock \
 && /opt/build/bin/pip --python /opt/venv install --require-hashes --no-compile \
      --requirement /build/requirements.lock \
 && find /opt/venv/lib -type d \( -name tests -o -name testing \) -prune -exec rm -rf {} + \
 && find /opt/venv/lib -name '*.so*' -type f -exec strip --strip-debug {} + \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
 && find /opt/venv -exec touch --no-dereference --date=@$SOURCE_DATE_EPOCH {} +


# The worker itself, built and installed by what is there already: no network, no dependencies.
FROM dependencies AS program

COPY LICENSE README.md pyproject.toml /build/
COPY config /build/config
COPY worker /build/worker
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels /build \
 && /opt/build/bin/pip --python /opt/venv install --no-deps --no-index --find-links /wheels \
      --no-compile --prefix /opt/program withdrawals-worker \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/program/lib \
 && find /opt/program -exec touch --no-dereference --date=@$SOURCE_DATE_EPOCH {} +


FROM python

# The working directory is the place of a ledger in SQLite: WORKER_LEDGER__URL is a file in it unless
# set. Its group is 0, so that a user whose number the platform chose (OpenShift) may enter it. It is no
# VOLUME: where nobody mounted one, a read-only root refuses to begin a ledger, and that
# is better than one that is forgotten with the container.
RUN echo 'withdrawals:x:10001:10001::/var/lib/withdrawals:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'withdrawals:x:10001:' >>/etc/group \
 && install --directory --owner=10001 --group=0 --mode=0770 /var/lib/withdrawals
WORKDIR /var/lib/withdrawals

ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
# By number: Kubernetes' runAsNonRoot can tell from no name that it is not root's.
USER 10001:10001
# Probes and metrics, and webhooks.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# Without a shell between, so that SIGTERM reaches the worker. It starts no processes, so there is
# nothing to reap, and no need of an init.
ENTRYPOINT ["withdrawals-worker"]
CMD ["run"]

# Two layers, so that a new release transfers the second alone.
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=program /opt/program /opt/venv

ARG BASE
ARG VERSION=""
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="withdrawals-worker" \
      org.opencontainers.image.description="Pays out withdrawal requests from RabbitMQ through a brokerage API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
