# The book, built from nothing but this folder: `docker build -t signseg .` runs `make book`.
# `docker run --rm -p 8000:8000 signseg` shows it at http://localhost:8000/.
FROM python:3.11-slim-bookworm

# git says which commit a page is from; the two libraries belong to the detector's package.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgl1 libglib2.0-0 make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /signseg
COPY . .
RUN make book

EXPOSE 8000
CMD ["python", "-m", "http.server", "8000", "--directory", "book/_build/html"]
