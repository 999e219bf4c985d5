{{- define "lastcall.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 50 characters, so that the longest of the names made from it fits into 63. */}}
{{- define "lastcall.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What is not in a namespace has the namespace in its name, so that two installations do not meet. */}}
{{- define "lastcall.clusterName" -}}
{{- $name := include "lastcall.fullname" . }}
{{- if eq $name .Release.Namespace }}{{ $name }}{{ else }}{{ printf "%s-%s" .Release.Namespace $name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "lastcall.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "lastcall.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "lastcall.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lastcall.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lastcall.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lastcall.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "lastcall.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Seconds of a duration of whole hours, minutes or seconds. */}}
{{- define "lastcall.seconds" -}}
{{- if not (regexMatch "^[0-9]+(s|m|h)?$" (toString .)) }}
{{- fail (printf "%v is no duration: 5s, 2m and 1h are" .) }}
{{- end }}
{{- $number := regexFind "^[0-9]+" (toString .) | int }}
{{- if hasSuffix "h" (toString .) }}{{ mul $number 3600 }}{{ else if hasSuffix "m" (toString .) }}{{ mul $number 60 }}{{ else }}{{ $number }}{{ end }}
{{- end }}
