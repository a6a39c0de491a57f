# Stands in for python:3.11-slim-bookworm: the same Debian and the same minor version of Python.
FROM fanzha-offline/debian:bookworm
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends python3 python3-venv tzdata > /dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && ln -s /usr/bin/python3 /usr/local/bin/python3 && ln -s /usr/bin/python3 /usr/local/bin/python
CMD ["python3"]
