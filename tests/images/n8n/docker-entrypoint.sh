#!/bin/sh
# The official image's contract: arguments are n8n's own, and certificates in /opt/custom-certificates are trusted.
if [ -d /opt/custom-certificates ]; then
  export NODE_OPTIONS="--use-openssl-ca $NODE_OPTIONS"
  export SSL_CERT_DIR=/opt/custom-certificates
fi
if [ "$#" -gt 0 ]; then
  exec n8n "$@"
fi
exec n8n
