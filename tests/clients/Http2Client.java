import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Drives Java's HttpClient in HTTP/2 (TLS only: it has no prior knowledge) through the base URL; prints one JSON line. */
public class Http2Client {
    interface Check {
        void run() throws Exception;
    }

    static final byte[] BODY = new byte[3_000_000];
    static String base;
    static HttpClient client;

    static String sum(byte[] data) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
    }

    static void equal(Object seen, Object expected) {
        if (!seen.equals(expected)) throw new AssertionError(seen + " in place of " + expected);
    }

    static HttpRequest.Builder to(String path) {
        return HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(20));
    }

    static byte[] whole(HttpResponse<byte[]> answer) {
        equal(answer.statusCode() + " " + answer.version(), "200 HTTP_2");
        return answer.body();
    }

    static byte[] send(HttpRequest.Builder request) throws Exception {
        return whole(client.send(request.build(), BodyHandlers.ofByteArray()));
    }

    static void download() throws Exception {
        HttpResponse<byte[]> answer = client.send(to("/bytes?n=2000000").build(), BodyHandlers.ofByteArray());
        equal(whole(answer).length, 2_000_000);
        equal(sum(answer.body()), answer.headers().firstValue("X-Sha256").orElse(""));
    }

    static void upload(String path, byte[] body, BodyPublisher publisher) throws Exception {
        String said = new String(send(to(path).POST(publisher)));
        equal(said.contains("\"sha256\":\"" + sum(body) + "\""), true);
    }

    static void echo() throws Exception {
        equal(sum(send(to("/echo").POST(BodyPublishers.ofByteArray(BODY)))), sum(BODY));
    }

    static void concurrent() throws Exception {
        var answers = IntStream.range(0, 100)
                .mapToObj(number -> client.sendAsync(to("/bytes?n=" + (1000 + number)).build(), BodyHandlers.ofByteArray()))
                .toList();
        for (int number = 0; number < 100; number++) {
            HttpResponse<byte[]> answer = answers.get(number).get();
            equal(whole(answer).length, 1000 + number);
            equal(sum(answer.body()), answer.headers().firstValue("X-Sha256").orElse(""));
        }
    }

    /** Uploads, eight at once, as long as the file is there. */
    static void rolling(Path file) throws Exception {
        byte[] piece = Arrays.copyOf(BODY, 20_000);
        Callable<Void> uploads = () -> {
            do {
                upload("/upload?wait=20", piece, BodyPublishers.ofByteArray(piece));
            } while (Files.exists(file));
            return null;
        };
        var pool = Executors.newFixedThreadPool(8);
        try {
            for (var over : pool.invokeAll(IntStream.range(0, 8).mapToObj(number -> uploads).toList())) over.get();
        } finally {
            pool.shutdown();
        }
    }

    static SSLContext believing(String file) throws Exception {
        KeyStore known = KeyStore.getInstance(KeyStore.getDefaultType());
        known.load(null);
        try (var pem = Files.newInputStream(Path.of(file))) {
            known.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        var factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(known);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        return context;
    }

    public static void main(String[] arguments) throws Exception {
        base = arguments[0];
        new SecureRandom().nextBytes(BODY);
        client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).sslContext(believing(System.getenv("SSL_CERT_FILE"))).build();
        Map<String, Check> checks = new LinkedHashMap<>();
        String told = System.getenv("LASTCALL_ROLLING");
        if (told != null) {
            checks.put("rolling", () -> rolling(Path.of(told)));
        } else {
            checks.put("download", Http2Client::download);
            checks.put("upload", () -> upload("/upload", BODY, BodyPublishers.ofByteArray(BODY)));
            checks.put("uploadStreamed", () -> upload("/upload", BODY, BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(BODY))));
            checks.put("echo", Http2Client::echo);
            checks.put("concurrent", Http2Client::concurrent);
        }
        StringBuilder line = new StringBuilder();
        for (var check : checks.entrySet()) {
            String verdict = "ok";
            try {
                check.getValue().run();
            } catch (Throwable error) {
                verdict = error.toString().replaceAll("[^ -~]|[\"\\\\]", " ");
            }
            line.append(line.isEmpty() ? "" : ", ").append('"').append(check.getKey()).append("\": \"").append(verdict).append('"');
        }
        System.out.println("{\"client\": \"java\", \"checks\": {" + line + "}}");
        System.exit(0);
    }
}
