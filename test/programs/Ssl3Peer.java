import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.MessageDigest;
import java.security.Security;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;

/**
 * Servers and a client of SSL 3.0 over JSSE, with everything that JDK 17 has switched off switched on again.
 *
 * serve PORT,PKCS12,VERSIONS,none|want|need|tunnel...   a server at each port; VERSIONS joined by "+"; whether it asks for
 *                       a client certificate, or is a proxy for CONNECT
 * get                   requests on stdin; a case is HOST:PORT,NAME,VERSIONS,SUITE (or "-"),SIZE,TIMES,PROXY_HOST:PORT (or "-")
 *
 * A server answers with a line about the session, then echoes. The client connects TIMES times with one context, so that
 * it may resume, and prints one line for each time.
 */
public class Ssl3Peer {
  public static void main(String[] args) throws Exception {
    // With RFC 7627 on, JSSE does not resume sessions without it, and SSL 3.0 sessions cannot have it.
    System.setProperty("jdk.tls.useExtendedMasterSecret", "false");
    for (String name : new String[] {"jdk.tls.disabledAlgorithms", "jdk.tls.legacyAlgorithms"}) Security.setProperty(name, "");
    if (args[0].equals("serve")) {
      for (String one : Arrays.copyOfRange(args, 1, args.length)) serve(one.split(","));
      System.out.println("READY");
    } else Jsse.answerRequests(Ssl3Peer::get);
  }

  static void serve(String[] one) throws Exception {
    SSLContext context = Jsse.showing(one[1]);
    SSLServerSocket listener = (SSLServerSocket) context.getServerSocketFactory().createServerSocket();
    listener.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(one[0])));
    listener.setEnabledProtocols(one[2].split("\\+"));
    listener.setEnabledCipherSuites(withoutSignals(context.getSupportedSSLParameters().getCipherSuites()));
    if (one[3].equals("need")) listener.setNeedClientAuth(true);
    if (one[3].equals("want")) listener.setWantClientAuth(true);
    Jsse.accept(listener, one[3].equals("tunnel") ? Ssl3Peer::tunnel : Ssl3Peer::answer);
  }

  static void answer(SSLSocket socket) {
    try (socket) {
      socket.startHandshake();
      OutputStream out = socket.getOutputStream();
      out.write((describe(socket.getSession()) + "\n").getBytes());
      InputStream in = socket.getInputStream();
      byte[] buffer = new byte[16384];
      for (int read = in.read(buffer); read != -1; read = in.read(buffer)) out.write(buffer, 0, read);
      socket.shutdownOutput();
    } catch (Exception error) {
      System.out.println("failed: " + error);
    }
  }

  static void tunnel(SSLSocket socket) {
    try (socket) {
      InputStream in = socket.getInputStream();
      StringBuilder head = new StringBuilder();
      while (head.indexOf("\r\n\r\n") < 0) {
        int c = in.read();
        if (c == -1) return;
        head.append((char) c);
      }
      String[] target = head.toString().split(" ")[1].split(":");
      try (Socket onward = new Socket(target[0], Integer.parseInt(target[1]))) {
        socket.getOutputStream().write("HTTP/1.1 200 OK\r\n\r\n".getBytes());
        Thread back = new Thread(() -> {
          try {
            onward.getInputStream().transferTo(socket.getOutputStream());
            socket.shutdownOutput();
          } catch (Exception error) {
            System.out.println("failed: " + error);
          }
        });
        back.start();
        in.transferTo(onward.getOutputStream());
        onward.shutdownOutput();
        back.join();
      }
    } catch (Exception error) {
      System.out.println("failed: " + error);
    }
  }

  static String describe(SSLSession session) {
    return session.getProtocol() + " " + session.getCipherSuite() + " " + HexFormat.of().formatHex(session.getId());
  }

  static void get(String roots, String[] one) throws Exception {
    SSLContext context = Jsse.trusting(roots);
    for (int time = 0; time < Integer.parseInt(one[5]); time += 1) {
      try {
        exchange(context, one);
      } catch (Exception error) {
        System.out.println("failed: " + error.getMessage());
      }
    }
  }

  static void exchange(SSLContext context, String[] one) throws Exception {
    SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(Jsse.connect(one[0], one[6]), one[1], 443, true);
    socket.setSoTimeout(60000);
    socket.setTcpNoDelay(true);
    socket.setEnabledProtocols(one[2].split("\\+"));
    socket.setEnabledCipherSuites(
        one[3].equals("-") ? withoutSignals(socket.getSupportedCipherSuites()) : one[3].split("\\+"));
    SSLParameters parameters = socket.getSSLParameters();
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    socket.setSSLParameters(parameters);
    socket.startHandshake();
    int size = Integer.parseInt(one[4]);
    MessageDigest sent = MessageDigest.getInstance("SHA-256");
    Thread writer = new Thread(() -> {
      try {
        Random random = new Random(7);
        byte[] piece = new byte[16384];
        for (int left = size; left > 0; left -= piece.length) {
          random.nextBytes(piece);
          int length = Math.min(left, piece.length);
          sent.update(piece, 0, length);
          socket.getOutputStream().write(piece, 0, length);
        }
      } catch (Exception error) {
        System.out.println("failed: " + error);
      }
    });
    writer.start();
    InputStream in = socket.getInputStream();
    StringBuilder server = new StringBuilder();
    for (int c = in.read(); c != '\n' && c != -1; c = in.read()) server.append((char) c);
    MessageDigest received = MessageDigest.getInstance("SHA-256");
    byte[] buffer = new byte[16384];
    for (int left = size; left > 0; ) {
      int read = in.read(buffer, 0, Math.min(left, buffer.length));
      if (read == -1) break;
      received.update(buffer, 0, read);
      left -= read;
    }
    writer.join();
    boolean echoed = Arrays.equals(sent.digest(), received.digest());
    socket.shutdownOutput();
    boolean ended = in.read() == -1;
    System.out.println("client " + describe(socket.getSession()) + " echoed=" + echoed + " ended=" + ended + " server " + server);
    socket.close();
  }

  /** Removes the renegotiation signal, which is no suite, and the anonymous suites, which need no certificate. */
  static String[] withoutSignals(String[] suites) {
    return Arrays.stream(suites).filter(suite -> !suite.contains("SCSV") && !suite.contains("_anon_")).toArray(String[]::new);
  }
}
