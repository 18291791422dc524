# sandpiper, either role: sandpiper.yaml in the volume says which. See docs/operating.md, "Docker".
ARG BASE=node:20-slim

FROM ${BASE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --cache /tmp/npm
COPY tsconfig.json ./
COPY bin bin
COPY src src
COPY packaging packaging
RUN npm run build

FROM ${BASE}
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --cache /tmp/npm && rm -rf /tmp/npm
COPY --from=build /app/dist/bin dist/bin
COPY db db
# `sandpiper` for `docker exec`; PostgreSQL needs a user with a name, which uid 1000 has in the base image (node).
RUN ln -s /app/dist/bin/sandpiper.js /usr/local/bin/sandpiper \
  && install -d -o 1000 -g 1000 -m 700 /var/lib/sandpiper
USER 1000:1000
WORKDIR /var/lib/sandpiper
VOLUME /var/lib/sandpiper
# The environment wins over the file, so that the port published and the one checked are always this.
ENV SANDPIPER_SERVER_HOST=0.0.0.0 SANDPIPER_SERVER_PORT=8080
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.SANDPIPER_SERVER_PORT}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["sandpiper"]
CMD ["serve"]
