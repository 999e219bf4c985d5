# A small image: two static programs and nothing else. `make image` builds the programs and then this, with buildah;
# any builder does, and needs neither a daemon nor a network:
#
#   tests/e2e/binaries release target/image && buildah build -t lastcall:0.1.0 .
FROM scratch
COPY target/image/lastcall target/image/lastcall-hold /
USER 65532:65532
ENTRYPOINT ["/lastcall"]
